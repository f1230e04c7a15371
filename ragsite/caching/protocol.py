"""What readers and writers do in Valkey, each in one atomic step.

Everything that values are made of has a *stamp* there, a random word, and a value is kept together with the stamps that
were seen before it was computed: it counts only as long as they all are the present ones. Before a writer commits it
removes the stamps of what it has changed and puts up *bars*, one of its own for each; after the commit it takes them
down and sets new stamps. While there is a bar, readers compute and keep nothing. A stamp that is missing (evicted,
expired, lost with the server) is made anew by the next reader, at random, so that nothing older counts again.

A bar carries the moment when it lapses, for writers that die; it is no expiry of its key, because a server that is full
evicts keys that have one first.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.cache import caches
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError
from redis.retry import Retry

from ragsite.redis_servers import connect, is_cluster

SECONDS = 0.5
"""A command that takes longer has failed: the rows are nearer."""
BAR_SECONDS = 30
"""Longer than any commit takes, bar and all."""
STAMP_SECONDS = 7 * 24 * 3600

_NOW = """
local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
local function barred(key)
  if redis.call('EXISTS', key) == 0 then return false end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now())
  return redis.call('EXISTS', key) == 1
end
"""
LOOK = (
    _NOW
    + """
-- KEYS: value, flight, then stamp and bar of each thing it is made of.
-- ARGV: a stamp for those that have none, its ms, a flight's token ('' for none), its ms.
-- Returns: state (0 barred, 1 missing, 2 found), stamps, value, whose flight it is, how many ms the value is kept on.
local stamps = {}
for place = 3, #KEYS, 2 do
  if barred(KEYS[place + 1]) then return {0, '', '', ''} end
  local stamp = redis.call('GET', KEYS[place])
  if not stamp then
    stamp = ARGV[1]
    redis.call('SET', KEYS[place], stamp, 'PX', ARGV[2])
  end
  stamps[#stamps + 1] = stamp
end
local seen = table.concat(stamps, ' ') .. '\\n'
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, #seen) == seen then
  return {2, seen, string.sub(value, #seen + 1), '', redis.call('PTTL', KEYS[1])}
end
if ARGV[3] == '' then return {1, seen, '', ''} end
if redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then return {1, seen, '', ARGV[3]} end
return {1, seen, '', redis.call('GET', KEYS[2])}
"""
)
FILL = (
    _NOW
    + """
-- KEYS as above. ARGV: stamps seen, value, its ms, whose flight ends with this ('' for none's).
-- Returns 1 when the value was kept.
local function kept()
  local stamps = {}
  for place = 3, #KEYS, 2 do
    if barred(KEYS[place + 1]) then return 0 end
    local stamp = redis.call('GET', KEYS[place])
    if not stamp then return 0 end
    stamps[#stamps + 1] = stamp
  end
  if table.concat(stamps, ' ') .. '\\n' ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
  return 1
end
local result = kept()
if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) == ARGV[4] then redis.call('DEL', KEYS[2]) end
return result
"""
)
LAND = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
BAR = (
    _NOW
    + """
-- KEYS: stamp and bar of each. ARGV: the writer, after how many ms its bars lapse.
local lapses = now() + ARGV[2]
for place = 1, #KEYS, 2 do
  redis.call('ZADD', KEYS[place + 1], lapses, ARGV[1])
  redis.call('DEL', KEYS[place])
end
"""
)
UNBAR = """
-- KEYS as above. ARGV: the writer, the new stamp, its ms.
for place = 1, #KEYS, 2 do
  redis.call('ZREM', KEYS[place + 1], ARGV[1])
  redis.call('SET', KEYS[place], ARGV[2], 'PX', ARGV[3])
end
"""


@dataclass(frozen=True)
class Names:
    """The keys of one value."""

    value: str
    flight: str
    stamps: tuple[str, ...]
    """Stamp and bar of each thing that it is made of."""

    @property
    def all(self) -> list[str]:
        return [self.value, self.flight, *self.stamps]


@dataclass(frozen=True)
class Sight:
    """What a reader found. ``stamps`` is None where nothing may be kept."""

    value: bytes | None
    stamps: bytes | None
    holder: bytes = b""
    """Whose flight it is."""
    left: float = 0.0
    """Seconds that the value is kept on."""


@cache
def redis() -> Redis:
    """This process's client. One more try where a connection was closed meanwhile, none where the server is slow."""
    return connect(
        settings.CACHE_URL,
        socket_connect_timeout=SECONDS,
        socket_timeout=SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )


@cache
def _script(text: str) -> Any:
    return redis().register_script(text)


def key(part: str) -> str:
    """With the prefix of all that the site keeps in the cache."""
    made: str = caches["default"].make_key(part)
    return made


def _placed(name: str) -> str:
    """In a cluster all keys of one script must lie together: those of one owner do (a name's second part)."""
    if not is_cluster(settings.CACHE_URL):
        return name
    kind, place, *rest = name.split(":")
    return ":".join((kind, f"{{{place}}}", *rest))


def _by_place(things: Sequence[str]) -> Iterable[Sequence[str]]:
    """The things that one script may name: all, but in a cluster those of one owner."""
    if not is_cluster(settings.CACHE_URL):
        return [things]
    ordered = sorted(things, key=_owner_of)
    return [list(together) for _, together in groupby(ordered, key=_owner_of)]


def _owner_of(thing: str) -> str:
    return thing.split(":")[1]


def value_key(entry: str) -> str:
    return key(f"value:{_placed(entry)}" if entry else "value:")


def stamp_keys(epoch: str, things: Sequence[str]) -> tuple[str, ...]:
    return tuple(key(f"{kind}:{epoch}:{_placed(thing)}") for thing in things for kind in ("stamp", "bar"))


def names(entry: str, epoch: str, things: Sequence[str]) -> Names:
    return Names(value_key(entry), key(f"flight:{_placed(entry)}"), stamp_keys(epoch, things))


def token() -> str:
    return secrets.token_hex(8)


def look(wanted: Names, flight: str = "", flight_seconds: float = 0, client: Any = None) -> Any:
    """See whether the value is there (queued, where ``client`` is a pipeline). Raises RedisError."""
    args = [token(), STAMP_SECONDS * 1000, flight, max(1, round(flight_seconds * 1000))]
    if client is not None and is_cluster(settings.CACHE_URL):  # whose pipelines know no scripts by their hash
        return client.execute_command("EVAL", LOOK, len(wanted.all), *wanted.all, *args)
    return _script(LOOK)(keys=wanted.all, args=args, client=client)


def sight(reply: Any) -> Sight:
    state, stamps, value, holder, *left = reply
    if state == 0:
        return Sight(None, None)
    return Sight(value if state == 2 else None, stamps, holder, left[0] / 1000 if left else 0.0)


def fill(wanted: Names, stamps: bytes, value: bytes, seconds: float, flight: str = "") -> bool:
    """Keep a value, unless something that it is made of was changed since the stamps were seen. Raises RedisError.

    Either way it ends the flight, if it is this one.
    """
    return bool(_script(FILL)(keys=wanted.all, args=[stamps, value, max(1, round(seconds * 1000)), flight]))


def land(wanted: Names, flight: str) -> None:
    """End a flight, so that nobody waits for it any more. Raises RedisError."""
    _script(LAND)(keys=[wanted.flight], args=[flight])


def bar(writer: str, epoch: str, things: Sequence[str]) -> None:
    """Make all values that are made of these things unreachable, and keep new ones away. Raises RedisError."""
    for together in _by_place(things):
        _script(BAR)(keys=stamp_keys(epoch, together), args=[writer, BAR_SECONDS * 1000])


def unbar(writer: str, epoch: str, things: Sequence[str]) -> None:
    """Raises RedisError; then the bars lapse by themselves."""
    for together in _by_place(things):
        _script(UNBAR)(keys=stamp_keys(epoch, together), args=[writer, token(), STAMP_SECONDS * 1000])


class Circuit:
    """Whether Valkey is worth asking: after failures, or answers that are slower than the rows, it is left alone.

    A pause ends with one reader who tries; each failure in a row makes the next pause longer.
    """

    FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
    SLOW_SECONDS = 0.04
    SLOW_IN_A_ROW = 10
    """After so many the server's own speed is measured: many threads in this process make all answers late."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._opens_at = 0.0
        self._slow = 0

    @property
    def closed(self) -> bool:
        """Nothing is wrong."""
        return self._pause == 0

    def allows(self) -> bool:
        if self._pause == 0:
            return True
        if time.monotonic() < self._opens_at:
            return False
        self._opens_at = time.monotonic() + self._pause  # this one tries, the others wait for what comes of it
        return True

    def note(self, seconds: float) -> None:
        """An answer came, after so long."""
        self._slow = self._slow + 1 if seconds > self.SLOW_SECONDS else 0
        if self._slow < self.SLOW_IN_A_ROW:
            self._pause = 0.0
            return
        self._slow = 0
        if _quickest_answer() > self.SLOW_SECONDS:
            self._stop(self.LONGEST_PAUSE)
            self._slow = self.SLOW_IN_A_ROW - 1  # the next try decides

    def fail(self) -> None:
        self._stop(min(max(self.FIRST_PAUSE, self._pause * 2), self.LONGEST_PAUSE))

    def _stop(self, pause: float) -> None:
        self._pause = pause
        self._opens_at = time.monotonic() + pause

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]


def _quickest_answer() -> float:
    """Seconds, of three tries."""
    taken = []
    for _ in range(3):
        started = time.monotonic()
        try:
            redis().ping()
        except RedisError:
            return float("inf")
        taken.append(time.monotonic() - started)
    return min(taken)


circuit = Circuit()
__all__ = ["BAR_SECONDS", "Circuit", "Names", "RedisError", "Sight", "circuit", "redis"]
