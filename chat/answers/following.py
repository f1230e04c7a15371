"""Following an answer: from memory, from Valkey, or from the database when it is long over."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from chat.answers import endings, events, streams
from chat.answers.board import board
from chat.answers.connections import release_connection
from chat.answers.events import HEARTBEAT, Event
from chat.answers.log import EventLog
from chat.models import Message
from chat.representations import whole_message_json

HEARTBEAT_SECONDS = 15.0

Batches = Iterator[list[Event]]
"""Events as they come; an empty list when nothing has happened for a while."""


def follow_log(log: EventLog, after: int = 0) -> Batches:
    """What is written to a log after an event; ends with the log. Needs no database."""
    while True:
        found = log.wait(after, HEARTBEAT_SECONDS)
        if found:
            after = found[-1].id
        elif log.ended:
            return
        yield found


def follow(message: Message, after: int = 0) -> Batches:
    """The events of a stored answer after one of them, wherever it is or was produced."""
    if message.status == Message.Status.RUNNING or board().get(message.id):
        return _follow_running(message, after)
    known = _shared(message)
    if known and known[-1].is_last:
        return iter([known[after:]])
    return iter([replay(message, after)])


def _shared(message: Message) -> list[Event]:
    try:
        return streams.read(message.id)
    except streams.RedisError:
        return []


def _follow_running(message: Message, after: int) -> Batches:
    """Follow the process that produces it; if that ends without a last event, the database knows what became of it."""
    release_connection()
    with ExitStack() as stack:
        log = stack.enter_context(board().following(message.id))
        yield from follow_log(log, after)
        if log.is_whole:
            return
        seen = max(len(log), after)
    ending = _ending(message)
    release_connection()
    yield [Event.of(seen + 1, *ending)]


def _ending(message: Message) -> endings.Ending:
    """What the database says of an answer that has ended."""
    rows = Message.objects.whole(message.owner_id).filter(id=message.id)
    stored = rows.select_related("owner").first()
    if stored is None:
        return endings.DELETED
    return endings.of_message(whole_message_json(stored)) if stored.owner.is_active else endings.FORBIDDEN


def replay(message: Message, after: int) -> list[Event]:
    """The events of a finished answer made from its row.

    Who has seen a part of the stream gets the last event alone, whose message is whole: the slices that the tokens
    came in are not kept, so that sending them again could double what is there.
    """
    data = whole_message_json(message)
    made = [endings.of_message(data)]
    if after == 0:
        text = [(events.TOKEN, {"text": data["content"]})] if data["content"] else []
        citations = [(events.CITATION, {"citation": citation}) for citation in data["citations"]]
        made = [(events.STATUS, {"message": data["id"], "stage": "writing"}), *text, *citations, *made]
    return [Event.of(after + number, name, payload) for number, (name, payload) in enumerate(made, 1)]


def frames(batches: Batches) -> Iterator[bytes]:
    """As Server-Sent Events, all that came together in one piece."""
    for batch in batches:
        yield b"".join(event.frame for event in batch) or HEARTBEAT


def last_event(log: EventLog) -> Event:
    """Wait for the end of an answer that is produced here."""
    return _known(log.wait_for_end())


def last_of(batches: Iterable[list[Event]]) -> Event:
    """Wait for the end, wherever it is produced."""
    last: Event | None = None
    for batch in batches:
        last = batch[-1] if batch else last
    return _known(last)


def _known(last: Event | None) -> Event:
    if last is None:
        raise LookupError("An answer ended without an event.")
    return last
