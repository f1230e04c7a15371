"""Values by their keyspace: got, made, kept. Without Valkey everything is computed."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import transaction

from ragsite import replicas
from ragsite.caching import epoch, protocol
from ragsite.caching.counters import aged, counters
from ragsite.caching.protocol import Names, RedisError, Sight, circuit
from ragsite.caching.registry import LARGEST_VALUE, Keyspace
from ragsite.replicas.doorkeeper import doorkeeper

V = TypeVar("V")
logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.05
"""Seconds between the looks of who waits for another one's value."""


@dataclass(frozen=True)
class Look(Generic[V]):
    """What a read found. With ``fill`` a value goes where this one was not, if nothing has changed since."""

    space: Keyspace[V]
    found: bool
    value: V | None = None
    names: Names | None = None
    stamps: bytes | None = None
    """None where nothing may be kept: barred, suspended, switched off, or Valkey is away."""
    flight: str = ""
    """This reader's, where it is the one to compute."""
    holder: bytes = b""

    @property
    def is_mine(self) -> bool:
        """Whether others wait for this reader's value."""
        return self.flight != "" and self.holder == self.flight.encode()


def look(space: Keyspace[V], **key: Any) -> Look[V]:
    """See whether a value is there, and what it would be made of."""
    return _look(space, _names(space, key), flight="")


def get(space: Keyspace[V], **key: Any) -> V | None:
    """The value, or None."""
    return look(space, **key).value


def get_many(space: Keyspace[V], keys: Iterable[Mapping[str, Any]]) -> list[V | None]:
    """The values of many keys in one round trip, in their order; None where there is none."""
    wanted = [_names(space, key) for key in keys]
    if not wanted or None in wanted or not circuit.allows():
        return [None] * len(wanted)
    started = time.monotonic()
    try:
        with protocol.redis().pipeline(transaction=False) as pipeline:
            for names in wanted:
                protocol.look(names, client=pipeline)  # type: ignore[arg-type]
            replies = pipeline.execute()
    except RedisError:
        _failed(space)
        return [None] * len(wanted)
    took = (time.monotonic() - started) / len(wanted)
    sights = zip(wanted, map(protocol.sight, replies), strict=True)
    return [_seen(space, names, sight, took).value for names, sight in sights]  # type: ignore[arg-type]


def fill(seen: Look[V], value: V) -> bool:
    """Keep a value where a look found none. Returns whether it is kept."""
    if seen.names is None or seen.stamps is None:
        return False
    data = bytes([seen.space.schema]) + seen.space.codec.write(value)
    if len(data) > LARGEST_VALUE:
        return False
    try:
        seconds = seen.space.ttl.total_seconds()
        kept = protocol.fill(seen.names, seen.stamps, data, seconds, seen.flight if seen.is_mine else "")
    except RedisError:
        _failed(seen.space)
        return False
    counters.add(seen.space.name, **({"kept": 1, "bytes": len(data)} if kept else {"refused": 1}))
    return kept


def put(space: Keyspace[V], value: V, **key: Any) -> bool:
    """Keep a value that is true now, which only the caller can know."""
    return fill(look(space, **key), value)


def delete(space: Keyspace[V], **key: Any) -> None:
    """Remove one value. Not how changes are told: that is ``changed``."""
    try:
        protocol.redis().delete(protocol.value_key(space.entry(key)))
    except RedisError:
        _failed(space)


def get_or_compute(
    space: Keyspace[V], compute: Callable[[], V], *, keep: Callable[[V], bool] = lambda _value: True, **key: Any
) -> V:
    """The value, computed where there is none; of all who miss it at once, in any process, one computes.

    ``keep`` says whether a computed value may be kept. What ``compute`` raises is raised.

    Where there are replicas of the database, what is asked for once is not kept, and may come from one of them.
    """
    names = _names(space, key)
    if settings.REPLICAS and space.from_replica and not (space.enabled and doorkeeper.knows(space.entry(key))):
        seen = _look(space, names, flight="")
        return seen.value if seen.found else replicas.read(space.from_replica, key["owner"], compute)  # type: ignore[return-value]
    seen = _await_flight(space, names)
    if seen.found:
        return seen.value  # type: ignore[return-value]
    return _computed(seen, compute, keep)


def _await_flight(space: Keyspace[V], names: Names | None) -> Look[V]:
    """The value, or the right to compute it: at once, or when the one who had it has come to nothing, or takes long."""
    flight = protocol.token()
    seen = _look(space, names, flight)
    deadline, pause, holder = time.monotonic() + space.flight.total_seconds(), FIRST_PAUSE, seen.holder
    while not seen.found and seen.holder not in (b"", flight.encode()) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
        seen = _look(space, names, flight, again=True)
        if seen.holder != holder and seen.holder != flight.encode():
            break  # the first one's value was refused: whoever waits for each next one would wait for long
    return seen


def _computed(seen: Look[V], compute: Callable[[], V], keep: Callable[[V], bool]) -> V:
    started, landed = time.monotonic(), False
    try:
        with replicas.on_primary() if settings.REPLICAS else nullcontext():
            value = compute()
        if seen.space.enabled:
            counters.add(seen.space.name, compute_seconds=time.monotonic() - started)
        landed = keep(value) and fill(seen, value)
        return value
    finally:
        if not landed:
            _land(seen)


def _land(seen: Look[Any]) -> None:
    if seen.names is None or not seen.is_mine:
        return
    try:
        protocol.land(seen.names, seen.flight)
    except RedisError:
        _failed(seen.space)


def _names(space: Keyspace[Any], key: Mapping[str, Any]) -> Names | None:
    """The keys in Valkey; None where it is not to be asked.

    Inside a transaction values that are made of rows are passed by: it sees what it has written, others must not.
    """
    entry, things = space.entry(key), space.made_of(key)
    if not space.enabled:
        return None
    if not things:
        return protocol.names(entry, "", ())
    if transaction.get_connection().in_atomic_block:
        return None
    try:
        known = epoch.view()
    except DatabaseProblem:
        return None  # whoever computes will be told by the database itself
    return None if known.suspended else protocol.names(entry, known.epoch, things)


def _look(space: Keyspace[V], names: Names | None, flight: str, again: bool = False) -> Look[V]:
    if not space.enabled:
        return Look(space, found=False)
    if names is None or not circuit.allows():
        counters.add(space.name, passed_by=1)
        return Look(space, found=False)
    started = time.monotonic()
    try:
        sight = protocol.sight(protocol.look(names, flight, space.flight.total_seconds()))
    except RedisError:
        _failed(space)
        counters.add(space.name, passed_by=1)
        return Look(space, found=False)
    return _seen(space, names, sight, time.monotonic() - started, flight, again)


def _seen(
    space: Keyspace[V], names: Names, sight: Sight, took: float, flight: str = "", again: bool = False
) -> Look[V]:
    circuit.note(took)
    if sight.value is not None:
        try:
            value = _read(space, sight.value)
            age = space.ttl.total_seconds() - sight.left
            counters.add(space.name, **{"hits": 1, "misses": -again, "hit_seconds": took, aged(age): 1})
            return Look(space, found=True, value=value, names=names)
        except ValueError as error:  # of another release, or damaged: made anew
            logger.info("a value of %s cannot be read: %s", space.name, error)
    if not again:
        counters.add(space.name, **({"passed_by": 1} if sight.stamps is None else {"misses": 1}))
    return Look(space, False, None, names, sight.stamps, flight, sight.holder)


def _read(space: Keyspace[V], data: bytes) -> V:
    """Raises ValueError, also for a value of another schema."""
    if data[:1] != bytes([space.schema]):
        raise ValueError("another schema")
    return space.codec.read(data[1:])


def _failed(space: Keyspace[Any]) -> None:
    circuit.fail()
    counters.add(space.name, failed=1)
