"""The events of running answers in Valkey, where every process can read them."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from chat.answers.events import Event
from ragsite import lifeline
from ragsite.redis_servers import connect

STREAM_SECONDS = 15 * 60
"""How long a stream is kept after the last write to it."""
ALIVE_SECONDS = 10
SILENCE_SECONDS = 5.0
"""So long must the sign of life be missing, beyond the seconds it lasts, before a producer counts as dead."""
MOST_EVENTS = 20_000
STOPS_KEPT = 1000

Entries = list[tuple[bytes, dict[bytes, bytes]]]


@cache
def redis() -> Redis:
    """This process's client: never waits long and never tries again, because answers go on without Valkey."""
    return connect(
        settings.STREAMS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), retries=0)
    )


def _key(part: str) -> str:
    return f"{settings.CACHES['default']['KEY_PREFIX']}:answers:{part}"


def stream_key(answer: UUID) -> str:
    return _key(str(answer))


def alive_key(answer: UUID) -> str:
    """There as long as the answer's producer is."""
    return _key(f"{answer}:alive")


def suspect_key(answer: UUID) -> str:
    """There when somebody has seen the answer without a sign of life, and none was given since."""
    return _key(f"{answer}:suspect")


def stops_key() -> str:
    """The requests to stop an answer, of all processes to all processes."""
    return _key("stops")


def add(pipeline: Any, answer: UUID, events: Sequence[Event]) -> None:
    """Queue the writing of events. The first one begins the stream anew.

    Later ones are added only to a stream that is there: the reply is None where Valkey has lost it, so that no stream
    begins in the middle. An entry's id is the event's.
    """
    for event in events:
        if event.id == 1:
            pipeline.delete(stream_key(answer))
        pipeline.xadd(
            stream_key(answer),
            {"n": event.name, "d": event.payload},
            id=f"{event.id}-0",
            nomkstream=event.id > 1,
            maxlen=MOST_EVENTS,
            approximate=True,
        )


def probe(client: Any) -> None:
    """Write something: what refuses it (no memory, a failed snapshot, a replica) refuses signs of life as well."""
    client.set(_key("probe"), b"1", ex=ALIVE_SECONDS)


def keep_alive(pipeline: Any, answer: UUID) -> None:
    """The sign of life says whose it is, so that others need not wait until it expires when that process is killed."""
    pipeline.set(alive_key(answer), lifeline.mine().encode(), ex=ALIVE_SECONDS)
    pipeline.delete(suspect_key(answer))
    pipeline.expire(stream_key(answer), STREAM_SECONDS)


def is_last_sign(sign: bytes) -> bool:
    """Whether the process that gave this sign of life is known to be gone since."""
    return lifeline.has_ended(sign.decode())


def close(pipeline: Any, answer: UUID) -> None:
    """After the last event."""
    pipeline.delete(alive_key(answer))
    pipeline.expire(stream_key(answer), STREAM_SECONDS)


def read_after(pipeline: Any, answer: UUID, number: int) -> Any:
    """The stream's entries after an event (queued, if this is a pipeline)."""
    return pipeline.xrange(stream_key(answer), min=f"({number}-0")


def parsed(entries: Entries, after: int) -> list[Event]:
    """The events that follow on an event without a gap: Valkey may have lost some."""
    events = [
        Event(int(number.split(b"-")[0]), fields[b"n"].decode(), fields[b"d"].decode()) for number, fields in entries
    ]
    return [event for number, event in enumerate(events, after + 1) if event.id == number]


def read(answer: UUID) -> list[Event]:
    """All events of an answer that are there from the first one on. Raises RedisError."""
    return parsed(read_after(redis(), answer, 0), 0)


def request_stop(answer: UUID) -> None:
    """Tell the answer's producer, wherever it is. Raises RedisError."""
    redis().xadd(stops_key(), {"answer": str(answer)}, maxlen=STOPS_KEPT, approximate=True)


def request_check() -> None:
    """Tell all processes to ask the database now which answers may go on. Raises RedisError.

    Not whose may not: a process that reads this late would stop answers of somebody who is back.
    """
    redis().xadd(stops_key(), {"check": "1"}, maxlen=STOPS_KEPT, approximate=True)


def forget(answers: Iterable[UUID]) -> None:
    """Remove what was streamed; silently not when Valkey is down, where nothing outlives its 15 minutes anyway."""
    keys = [stream_key(answer) for answer in answers]
    try:
        if keys:
            redis().delete(*keys)
    except RedisError:
        pass
