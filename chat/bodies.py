"""What messages say."""

from collections.abc import Iterable

from chat.models import Message, MessageBody
from ragsite.languages import has_unspaced, index_words

QUOTING_ENGINE = "extractive"
"""The name of the engine whose answers consist of quotes."""
MAY_QUOTE = ("", QUOTING_ENGINE)
"""Engines whose answers lose what they quote from a deleted document; an answer without one may be of either kind."""
DELETED_QUOTE = "[…]"


def body_of(message: Message, content: str) -> MessageBody:
    """The message's body, not yet saved."""
    return MessageBody(
        message=message,
        owner_id=message.owner_id,
        conversation_id=message.conversation_id,
        content=content,
        words=index_words(content) if has_unspaced(content) else None,
    )


def save_body(message: Message, content: str) -> None:
    """Write, or write anew, what a message says."""
    MessageBody.objects.bulk_create(
        [body_of(message, content)],
        update_conflicts=True,
        unique_fields=["message"],
        update_fields=["content", "words"],
    )


def without_quotes(content: str, quotes: Iterable[str]) -> str:
    """What a message says without these quotes."""
    for quote in sorted(quotes, key=len, reverse=True):  # one may be a part of another
        content = content.replace(quote, DELETED_QUOTE)
    return content
