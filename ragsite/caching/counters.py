"""What each keyspace did: counted in the process, added up in Valkey every few seconds, and shown."""

import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ragsite.caching import protocol
from ragsite.caching.protocol import RedisError
from ragsite.caching.registry import Keyspace, keyspaces

FLUSH_SECONDS = 5.0
COUNTED = ("hits", "misses", "passed_by", "refused", "failed", "kept")
AGES = (60, 600, 3600, 6 * 3600, 24 * 3600)
"""Hits are counted by the age of the value, in seconds up to each of these."""
SUMS = ("hit_seconds", "compute_seconds", "bytes")
SAMPLED = 50
"""Values of a keyspace whose memory is asked for."""
MOST_KEYS = 200_000


@dataclass(frozen=True)
class Statistics:
    """Of one keyspace since its counters began.

    ``passed_by``: something it is made of was being changed, or the cache was away; ``refused``: changed while a value
    was computed; ``failed``: Valkey did not answer.
    """

    keyspace: str
    hits: int = 0
    misses: int = 0
    passed_by: int = 0
    refused: int = 0
    failed: int = 0
    kept: int = 0
    hit_seconds: float = 0.0
    compute_seconds: float = 0.0
    bytes: float = 0.0
    ages: tuple[int, ...] = (0,) * len(AGES)
    """Of the hits, how many were of values up to each of AGES old, and no older than the one before."""

    @property
    def reads(self) -> int:
        return self.hits + self.misses + self.passed_by

    @property
    def hit_rate(self) -> float:
        return self.hits / self.reads if self.reads else 0.0

    @property
    def mean_hit_seconds(self) -> float:
        return self.hit_seconds / self.hits if self.hits else 0.0

    @property
    def mean_compute_seconds(self) -> float:
        computed = self.misses + self.passed_by
        return self.compute_seconds / computed if computed else 0.0

    @property
    def seconds_saved(self) -> float:
        """What the hits would have cost to compute, less what all reads have cost."""
        return self.hits * (self.mean_compute_seconds - self.mean_hit_seconds) - self.misses * self.mean_hit_seconds


class Counters:
    """This process's share that is not in Valkey yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], float] = defaultdict(float)
        self._flushed_at = time.monotonic()

    def add(self, keyspace: str, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._counts[keyspace, name] += amount
            due = time.monotonic() - self._flushed_at > FLUSH_SECONDS
            if due:
                self._flushed_at = time.monotonic()
        if due and protocol.circuit.closed:
            self.flush()

    def flush(self) -> None:
        """Add what was counted to the sums of all processes; where Valkey is away it is lost."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(float)
        if not counts:
            return
        try:
            with protocol.redis().pipeline(transaction=False) as pipeline:
                for (keyspace, name), amount in counts.items():
                    pipeline.hincrbyfloat(_key(keyspace), name, amount)
                pipeline.execute()
        except RedisError:
            protocol.circuit.fail()


counters = Counters()


def aged(seconds: float) -> str:
    """The counter of hits of this age."""
    return f"aged_{next((age for age in AGES if seconds <= age), AGES[-1])}"


def _key(keyspace: str) -> str:
    return protocol.key(f"counters:{keyspace}")


def statistics() -> dict[str, Statistics]:
    """Of each keyspace, by its name, over all processes; zeros where Valkey does not answer."""
    counters.flush()
    spaces = keyspaces()
    try:
        with protocol.redis().pipeline(transaction=False) as pipeline:
            for space in spaces:
                pipeline.hgetall(_key(space.name))
            found = pipeline.execute()
    except RedisError:
        found = [{} for _ in spaces]
    return {space.name: _statistics(space, counts) for space, counts in zip(spaces, found, strict=True)}


def _statistics(space: Keyspace[Any], counts: dict[bytes, bytes]) -> Statistics:
    amounts = {name.decode(): float(amount) for name, amount in counts.items()}
    found: dict[str, Any] = {name: round(amounts.get(name, 0)) for name in COUNTED}
    found |= {name: amounts.get(name, 0.0) for name in SUMS}
    found["ages"] = tuple(round(amounts.get(f"aged_{age}", 0)) for age in AGES)
    return Statistics(space.name, **found)


def reset() -> None:
    """Begin to count anew. Raises RedisError."""
    counters.flush()
    if keys := [_key(space.name) for space in keyspaces()]:
        protocol.redis().delete(*keys)


@dataclass(frozen=True)
class Memory:
    """What a keyspace's values take in Valkey: counted, and weighed by a sample."""

    values: int
    bytes: int


def memory() -> dict[str, Memory]:
    """Of each keyspace. Walks over the keys of the cache, MOST_KEYS at most: for people, not for requests.

    Raises RedisError.
    """
    found: dict[str, list[bytes]] = defaultdict(list)
    start = protocol.value_key("")
    for number, name in enumerate(protocol.redis().scan_iter(match=f"{start}*", count=1000)):
        found[name[len(start) :].split(b":")[0].decode()].append(name)
        if number >= MOST_KEYS:
            break
    return {space.name: _weighed(found.get(space.name, [])) for space in keyspaces()}


def _weighed(names: list[bytes]) -> Memory:
    if not names:
        return Memory(0, 0)
    sample = names if len(names) <= SAMPLED else random.sample(names, SAMPLED)
    with protocol.redis().pipeline(transaction=False) as pipeline:
        for name in sample:
            pipeline.memory_usage(name)
        sizes = [size or 0 for size in pipeline.execute()]
    return Memory(len(names), round(sum(sizes) / len(sample) * len(names)))
