"""What a question is asked to, as people choose and see it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models.functions import Lower
from django.http import QueryDict

from documents.models import Collection, Document
from documents.naming import named_like
from documents.search import Scope
from ragsite.accounts.models import User
from ragsite.api.sifting import first_rows

OFFERED = 12
"""Documents offered for what was typed."""


@dataclass(frozen=True)
class Choice:
    """Collections and documents that were chosen; ``whole`` where nothing was, also nothing that is gone by now."""

    documents: Sequence[Document]
    collections: Sequence[Collection]
    whole: bool

    @property
    def gone(self) -> bool:
        """Something was chosen, and nothing of it is there."""
        return not (self.whole or self.documents or self.collections)

    def scope(self, owner: User) -> Scope | None:
        """None for the whole library."""
        if self.whole:
            return None
        documents = tuple(document.id for document in self.documents)
        collections = tuple(collection.id for collection in self.collections) or None
        return Scope(owner.pk, documents if documents or not collections else None, collections)


def chosen_in(owner: User, values: QueryDict) -> Choice:
    """What a query string or a form names; ids that are not the owner's are left out."""
    documents, collections = values.getlist("documents"), values.getlist("collections")
    return _choice(owner, _ids(documents), _ids(collections), whole=not any((*documents, *collections)))


def chosen_by(owner: User, scope: Scope) -> Choice:
    """What a conversation is about, without what was deleted meanwhile."""
    return _choice(owner, scope.documents or (), scope.collections or (), scope.whole)


def _choice(owner: User, documents: Iterable[UUID], collections: Iterable[UUID], whole: bool) -> Choice:
    found_documents = _named(Document.objects.for_user(owner).filter(id__in=documents), "filename") if documents else []
    found_collections = (
        _named(Collection.objects.for_user(owner).filter(id__in=collections), "name") if collections else []
    )
    return Choice(found_documents, found_collections, whole)


def _named(rows: object, name: str) -> list:
    return list(rows.only("id", "owner_id", name).order_by(Lower(name), "id"))  # type: ignore[attr-defined]


def _ids(values: Iterable[str]) -> list[UUID]:
    found = []
    for value in list(values)[:1000]:
        try:
            found.append(UUID(value))
        except ValueError:
            continue
    return found


def offered_documents(owner: User, text: str, chosen: Choice) -> list[Document]:
    """The newest documents whose name is like what was typed, without those that are chosen already."""
    documents = Document.objects.for_user(owner).exclude(id__in=[document.id for document in chosen.documents])
    if text.strip():
        documents = named_like(documents, owner, text.strip())
    newest = documents.only("id", "owner_id", "filename", "uploaded_at").order_by("-uploaded_at", "-id")
    return first_rows(newest, OFFERED).rows
