"""The reads of conversations and messages, named as English. No method here evaluates."""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models import Prefetch

from ragsite.api.sifting import SiftedQuerySet

if TYPE_CHECKING:
    from chat.models import Citation, Conversation, Message  # noqa: F401  (the bases below name them)
    from ragsite.accounts.models import User

TITLE_WORDS = "documents_tsvector('simple', title)"
BODY_WORDS = "documents_tsvector('simple', coalesce(words, content))"


class ConversationQuerySet(SiftedQuerySet["Conversation"]):
    def for_user(self, user: "User") -> "ConversationQuerySet":
        return self.filter(owner=user)

    def archived(self, archived: bool = True) -> "ConversationQuerySet":
        return self.filter(archived_at__isnull=not archived)

    def newest_first(self) -> "ConversationQuerySet":
        return self.order_by("-updated_at", "-id")


class MessageQuerySet(models.QuerySet["Message"]):
    def for_user(self, user: "User") -> "MessageQuerySet":
        return self.filter(owner=user)

    def of(self, conversation: "Conversation") -> "MessageQuerySet":
        return self.filter(owner_id=conversation.owner_id, conversation_id=conversation.id)

    def in_order(self) -> "MessageQuerySet":
        return self.order_by("created_at", "id")

    def running(self) -> "MessageQuerySet":
        return self.filter(status="running")

    def whole(self, owner_id: int) -> "MessageQuerySet":
        """The owner's, with what they say and what they cite: two queries for any number of messages."""
        from chat.models import Citation

        citations = Prefetch("citations", queryset=Citation.objects.filter(owner_id=owner_id).in_order())
        return self.filter(owner_id=owner_id).select_related("body").prefetch_related(citations)


class CitationQuerySet(models.QuerySet["Citation"]):
    def in_order(self) -> "CitationQuerySet":
        return self.order_by("message_id", "marker")

    def of_documents(self, owner_id: int, documents: Iterable[UUID]) -> "CitationQuerySet":
        return self.filter(owner_id=owner_id, document_id__in=list(documents))
