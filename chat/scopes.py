"""Which part of the library a conversation is about."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chat.models import Conversation
from documents.models import Collection, Document
from documents.search import Scope

if TYPE_CHECKING:
    from ragsite.accounts.models import User

MOST_CHOSEN = 1000
"""Documents that may be chosen one by one; more of them belong into a collection."""

Ids = Sequence[UUID] | None


def scope_of(conversation: Conversation) -> Scope:
    """As it was chosen. What was deleted meanwhile matches nothing, which is not the same as no choice at all."""
    return Scope(conversation.owner_id, _chosen(conversation.scope_documents), _chosen(conversation.scope_collections))


def instructions_for(scope: Scope) -> str:
    """What the owners of the collections that are asked want of answers."""
    if not scope.collections:
        return ""
    asked = Collection.objects.filter(owner_id=scope.owner_id, id__in=scope.collections).exclude(instructions="")
    return "\n\n".join(asked.order_by("created_at", "id").values_list("instructions", flat=True))


def scope_json(scope: Scope) -> dict[str, list[str] | None]:
    return {"documents": _as_strings(scope.documents), "collections": _as_strings(scope.collections)}


def visible_scopes(owner: "User", conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    """The scope of each conversation without what was deleted meanwhile: at most two queries for all of them."""
    documents = _alive(owner, Document, [c.scope_documents for c in conversations])
    collections = _alive(owner, Collection, [c.scope_collections for c in conversations])
    return [
        {
            "documents": _as_strings(_only(conversation.scope_documents, documents)),
            "collections": _as_strings(_only(conversation.scope_collections, collections)),
        }
        for conversation in conversations
    ]


def _chosen(ids: Ids) -> tuple[UUID, ...] | None:
    return None if ids is None else tuple(ids)


def _as_strings(ids: Iterable[UUID] | None) -> list[str] | None:
    return None if ids is None else [str(identifier) for identifier in ids]


def _alive(owner: "User", model: Any, choices: Iterable[Ids]) -> set[UUID]:
    ids = {identifier for choice in choices for identifier in choice or ()}
    return set(model.objects.for_user(owner).filter(id__in=ids).values_list("id", flat=True)) if ids else set()


def _only(ids: Ids, alive: set[UUID]) -> list[UUID] | None:
    return None if ids is None else [identifier for identifier in ids if identifier in alive]
