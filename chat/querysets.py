"""The reads of conversations and messages, named as English. No method here evaluates."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models import Prefetch
from django.db.models.expressions import RawSQL

from ragsite.languages import index_words

if TYPE_CHECKING:
    from chat.models import Citation, Conversation, Message  # noqa: F401  (the bases below name them)
    from ragsite.accounts.models import User

TITLE_WORDS = "documents_tsvector('simple', title)"
BODY_WORDS = "documents_tsvector('simple', coalesce(words, content))"
# Each index needs its own two expressions to the letter. One list of ids and not two conditions joined by OR: for those
# the planner walks the owner's conversations and makes a tsvector of each title. An array and not IN: its ids are
# looked up in the order of the index, each page of it once; a join goes down the index for each of thousands.
MATCHING = (
    "chat_conversation.id = ANY(ARRAY(SELECT id FROM chat_conversation "  # noqa: S608
    f"WHERE owner_id = %s AND (ARRAY[owner_id]) @> ARRAY[%s::bigint] AND {TITLE_WORDS} @@ to_tsquery('simple', %s) "
    "UNION ALL SELECT conversation_id FROM chat_messagebody "
    f"WHERE owner_id = %s AND (ARRAY[owner_id]) @> ARRAY[%s::bigint] AND {BODY_WORDS} @@ to_tsquery('simple', %s)))"
)


def word_query(text: str) -> str:
    """A tsquery of all words of the text, each of which may be unfinished; empty when it has none."""
    return " & ".join(f"'{word}':*" for word in re.findall(r"\w+", index_words(text))[:20])


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def for_user(self, user: "User") -> "ConversationQuerySet":
        return self.filter(owner=user)

    def archived(self, archived: bool = True) -> "ConversationQuerySet":
        return self.filter(archived_at__isnull=not archived)

    def newest_first(self) -> "ConversationQuerySet":
        return self.order_by("-updated_at", "-id")

    def search(self, user: "User", text: str) -> "ConversationQuerySet":
        """The user's conversations whose title or one of whose messages holds all words."""
        words = word_query(text)
        if not words:
            return self.for_user(user).none()
        matching = RawSQL(MATCHING, [user.pk, user.pk, words] * 2, models.BooleanField())
        return self.for_user(user).filter(matching)


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
