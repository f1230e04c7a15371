"""Which part of a library a question is asked to: checked against its owner before it is used."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from documents.models import Collection, Document
from documents.search import Scope

if TYPE_CHECKING:
    from ragsite.accounts.models import User


class NotInLibrary(LookupError):
    """Ids that name nothing of the owner's: ``errors`` by field, for the answer."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("Something in the scope is not in your library.")
        self.errors = errors


def owned_scope(
    owner: "User", documents: Sequence[UUID] | None = None, collections: Sequence[UUID] | None = None
) -> Scope:
    """The scope of these documents and collections; of the whole library when neither is given.

    Raises NotInLibrary when one of them is not the owner's.
    """
    errors = {
        **_unknown("documents", Document.objects.for_user(owner), documents),
        **_unknown("collections", Collection.objects.for_user(owner), collections),
    }
    if errors:
        raise NotInLibrary(errors)
    return Scope(owner.pk, _distinct(documents), _distinct(collections))


def _unknown(field: str, owned: "object", ids: Sequence[UUID] | None) -> dict[str, list[str]]:
    if not ids:
        return {}
    known = set(owned.filter(id__in=ids).values_list("id", flat=True))  # type: ignore[attr-defined]
    missing = [
        f"There is no {field[:-1]} {entry} in your library." for entry in dict.fromkeys(ids) if entry not in known
    ]
    return {field: missing} if missing else {}


def _distinct(ids: Sequence[UUID] | None) -> tuple[UUID, ...] | None:
    return tuple(dict.fromkeys(ids)) if ids else None
