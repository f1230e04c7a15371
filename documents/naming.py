"""Which documents are named like what was typed: of names that few have a list, of those that many have a sieve."""

import re
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from documents.models import Document
from documents.querysets import FILENAME_WORDS, DocumentQuerySet
from ragsite.accounts.models import User
from ragsite.api.sifting import Sieve
from ragsite.word_indexes import FEW, MOST_WORDS, long_words, matching, tsquery

LOOKED_AT = 2000
"""Documents that a page looks at; the name stands in the row."""
NAMED = f"(lower(sifted.filename) LIKE %s OR {FILENAME_WORDS} @@ to_tsquery('simple', %s))"


def named_like(documents: DocumentQuerySet, owner: User, text: str) -> DocumentQuerySet:
    """Of these, the owner's whose name starts with the text, or holds all its words, each of which may be unfinished.

    As with conversations (chat/searching.py) the index is asked for ``FEW`` at most. Where more are named so, the list
    is looked through in its order, a stretch at a time, instead of being put into it.
    """
    words = re.findall(r"\w+", text)[:MOST_WORDS]
    known = long_words(words)
    found = _few(owner, text, known) if known else None
    if found is not None:
        documents = documents.filter(id__in=found)
    exact = found is not None and (not found or known == words)
    return documents if exact else documents.sifted(_sieve(text, words))


def _sieve(text: str, words: list[str]) -> Sieve:
    starts = f"{connection.ops.prep_for_like_query(text.lower())}%"
    return Sieve(NAMED, [starts, tsquery(words)], LOOKED_AT)


def _few(owner: User, text: str, words: list[str]) -> set[UUID] | None:
    """Of the documents that are named so; None where there are more than ``FEW``."""
    mine = Document.objects.for_user(owner)
    holding = RawSQL(*matching(FILENAME_WORDS, owner.pk, words), BooleanField())
    starting = mine.starting(text).values_list("id")[: FEW + 1]
    found = [row[0] for row in starting.union(mine.filter(holding).values_list("id")[: FEW + 1], all=True)]
    return set(found) if len(found) <= FEW else None
