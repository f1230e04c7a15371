"""What the counters say about how long values should be kept, and how much room that takes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ragsite.caching.counters import AGES, Memory, Statistics
from ragsite.caching.registry import Keyspace

ENOUGH_READS = 200
ENOUGH_OF_HITS = 0.95
STILL_FOUND = 0.2
"""Share of hits in the last part of a value's life from which on a longer one is worth it."""


@dataclass(frozen=True)
class Advice:
    """``ttl`` is None where too little was seen, or where nothing is to be changed."""

    ttl: timedelta | None
    bytes: int
    reason: str


def advise(space: Keyspace[Any], seen: Statistics, kept: Memory) -> Advice:
    """By the ages of the values that were found, and what a computed one costs."""
    if seen.reads < ENOUGH_READS:
        return Advice(None, kept.bytes, f"only {seen.reads} reads seen")
    if seen.seconds_saved <= 0:
        return Advice(None, 0, f"costs more than it saves: RAGSITE_CACHES_OFF={space.name}")
    wanted = _ttl(space, seen)
    if wanted is None:
        return Advice(None, kept.bytes, "fits")
    room = round(kept.bytes * min(wanted / space.ttl, 2))
    young = f"95 % of the hits are younger than {AGES[_covering(seen)]} s"
    return Advice(wanted, room, young if wanted < space.ttl else "values are still found when they end")


def _covering(seen: Statistics) -> int:
    """The first age up to which nearly all hits are."""
    found = 0
    for place, count in enumerate(seen.ages):
        found += count
        if found >= ENOUGH_OF_HITS * sum(seen.ages):
            return place
    return len(AGES) - 1


def _ttl(space: Keyspace[Any], seen: Statistics) -> timedelta | None:
    last = next(place for place, age in enumerate(AGES) if space.ttl.total_seconds() <= age or place == len(AGES) - 1)
    if last and seen.ages[last] > STILL_FOUND * seen.hits:
        return space.ttl * 2
    covering = AGES[_covering(seen)]
    return timedelta(seconds=covering) if covering < space.ttl.total_seconds() / 2 else None
