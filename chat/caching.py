"""What of conversations is cached, and which changes of them are told."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from documents.caching import CORPUS, LIBRARY, NAMES
from ragsite.caching import JSON, PAGE, Dependency, Keyspace, changed
from ragsite.replicas.position import written

CONVERSATIONS = Dependency(
    "conversations",
    ("owner",),
    "The list: one begun, asked in, answered in, renamed, pinned, archived, deleted.",
)
CONVERSATION = Dependency(
    "conversation", ("owner", "conversation"), "Its row, its messages, what they say and cite; its deletion."
)
QUOTES = Dependency("quotes", ("owner",), "What many answers cite: a document deleted, or replaced by a newer version.")

HOUR = timedelta(hours=1)

# Each change of a conversation, its messages and what they cite tells CONVERSATIONS; names of documents tell LIBRARY.
CHAT_WRITTEN = written("chat-written", "the owner's conversations, documents or collections", CONVERSATIONS, LIBRARY)

CONVERSATION_LIST: Keyspace[bytes] = Keyspace(
    "conversation-list",
    {"owner": int, "url": str},
    "`GET /api/v1/conversations`.",
    HOUR,
    (CONVERSATIONS, NAMES),
    PAGE,
    from_replica=CHAT_WRITTEN,
)
CONVERSATION_DETAIL: Keyspace[bytes] = Keyspace(
    "conversation-detail",
    {"owner": int, "conversation": UUID, "url": str},
    "`GET /api/v1/conversations/{id}` with its messages, and `…/messages`.",
    HOUR,
    (CONVERSATION, QUOTES, NAMES),
    PAGE,
    from_replica=CHAT_WRITTEN,
)
CONVERSATION_PAGE: Keyspace[bytes] = Keyspace(
    "conversation-page",
    {"owner": int, "conversation": UUID, "url": str},
    "A conversation as a page with the list at its side, while no answer is running in it.",
    HOUR,
    (CONVERSATIONS, CONVERSATION, QUOTES, NAMES),
    PAGE,
    from_replica=CHAT_WRITTEN,
)
ANSWERS: Keyspace[Any] = Keyspace(
    "answers",
    {"owner": int, "asked": str},
    "A whole answer with its passages and citations, by everything that makes it: question, what was said before, "
    "scope, instructions, style, model and its settings, the release of the site.",
    timedelta(days=1),
    (CORPUS,),
    JSON,
)


def conversation_changed(owner_id: int, conversation: UUID) -> None:
    """In the transaction: its row or its messages."""
    changed(*changes_of_conversation(owner_id, conversation))


def changes_of_conversation(owner_id: int, conversation: UUID) -> tuple[str, str]:
    """What a change of its row or its messages changes."""
    return CONVERSATIONS(owner=owner_id), CONVERSATION(owner=owner_id, conversation=conversation)


def quotes_changed(owner_id: int) -> None:
    """In the transaction: what answers cite."""
    changed(QUOTES(owner=owner_id), CONVERSATIONS(owner=owner_id))
