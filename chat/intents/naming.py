"""Which documents a sentence means: by the file's name, or because only one can be meant."""

import re
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from documents.models import Document, Membership
from documents.search import Scope

_EXTENSION = re.compile(r"[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}(?![A-Za-z0-9])")
LONGEST_NAME = 120
MOST_NAMED = 8
_OPENING = re.compile(r"[\s\"'“„«»「『(:/]")


def in_scope(scope: Scope) -> QuerySet[Document]:
    """The owner's documents that are asked."""
    documents = Document.objects.filter(owner_id=scope.owner_id)
    if scope.whole:
        return documents
    members = Membership.objects.filter(owner_id=scope.owner_id, collection__in=scope.collections or ())
    return documents.filter(Q(id__in=scope.documents or ()) | Q(id__in=members.values("document_id")))


def narrowed(scope: Scope, question: str) -> Scope:
    """The scope, or the documents in it whose file names the question holds ("according to budget.xlsx …")."""
    names = list(_possible_names(question))
    if not names:
        return scope
    found = in_scope(scope).annotate(lower_name=Lower("filename")).filter(lower_name__in=names)
    ids = _of_longest_names(dict(found.values_list("id", "lower_name")), question.lower())
    return replace(scope, documents=ids, collections=None) if ids else scope


def _possible_names(question: str) -> Iterator[str]:
    """What ends with an extension, from each word before it: a file's name may hold spaces."""
    text = question.lower()
    for match in list(_EXTENSION.finditer(text))[:MOST_NAMED]:
        start = max(0, match.end() - LONGEST_NAME)
        begins = [start, *(found.end() for found in _OPENING.finditer(text, start, match.start() + 1))]
        yield from (text[begin : match.end()] for begin in begins if begin < match.end())
        yield from (text[begin : match.end()] for begin in range(start, match.start() + 1) if _unspaced(text, begin))


def _unspaced(text: str, begin: int) -> bool:
    """Whether a name may begin here without a space before it, as after Chinese or Japanese words."""
    return begin > 0 and not text[begin - 1].isascii() and text[begin].isascii()


def _of_longest_names(names: dict[UUID, str], question: str) -> tuple[UUID, ...]:
    """Without names that are only the end of another one that stands there ("plan.pdf" of "master plan.pdf")."""
    longer = {name for name in names.values() for other in names.values() if name != other and other.endswith(name)}
    return tuple(
        id_
        for id_, name in names.items()
        if name not in longer or question.count(name) > _covers(names, name, question)
    )


def _covers(names: dict[UUID, str], name: str, question: str) -> int:
    return sum(question.count(other) for other in set(names.values()) if other != name and other.endswith(name))


def called(scope: Scope, name: str) -> UUID | None:
    """The one document in scope that is called so: by its file name, with or without extension, or its title."""
    name = re.sub(r"^(?:the|this|der|die|das|le|la|el) ", "", name.strip().lower())
    documents = in_scope(scope).annotate(lower_name=Lower("filename"))
    exact = documents.filter(Q(lower_name=name) | Q(lower_name__startswith=f"{name}."))
    ids = list(exact.values_list("id", flat=True)[:2]) or list(
        documents.filter(title__iexact=name).values_list("id", flat=True)[:2]
    )
    return ids[0] if len(ids) == 1 else None


def only_document(scope: Scope) -> UUID | None:
    """The document that "this document" is: the only one in scope."""
    ids = list(in_scope(scope).values_list("id", flat=True)[:2])
    return ids[0] if len(ids) == 1 else None
