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
        words=index_words_of(content),
    )


def index_words_of(content: str) -> str | None:
    """For the word index, where the text has a script without spaces."""
    return index_words(content) if has_unspaced(content) else None


def save_body(message: Message, content: str) -> None:
    """Write, or write anew, what a message says. Who writes the first body holds a lock on the message."""
    body = body_of(message, content)
    mine = MessageBody.objects.filter(owner=message.owner_id, message=message.id)
    # No ON CONFLICT: the key is the message's id here, and begins with the owner where the table is distributed.
    if not mine.update(content=body.content, words=body.words):
        body.save(force_insert=True)


def without_quotes(content: str, quotes: Iterable[str]) -> str:
    """What a message says without these quotes."""
    for quote in sorted(quotes, key=len, reverse=True):  # one may be a part of another
        content = content.replace(quote, DELETED_QUOTE)
    return content
