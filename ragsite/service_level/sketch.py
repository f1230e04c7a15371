"""Distributions that can be added up: times in buckets whose widths grow with the times (as in DDSketch).

Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB
2019. Bucket ``i`` holds what lies in (γ^(i-1), γ^i]; told is what is at most ERROR away from all of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

ERROR = 0.02
"""A percentile is at most this share of itself away from the exact one."""
GAMMA = (1 + ERROR) / (1 - ERROR)
SMALLEST = 1e-4
"""Seconds; what is shorter counts as this long."""
_PER_LOG = 1 / math.log(GAMMA)


def bucket_of(seconds: float) -> int:
    return math.ceil(math.log(max(seconds, SMALLEST)) * _PER_LOG)


def value_of(bucket: int) -> float:
    """The time that stands for a bucket."""
    return 2 * GAMMA**bucket / (GAMMA + 1)


@dataclass
class Sketch:
    """``count`` times that were measured, and ``errors``: what failed, of which no time counts."""

    count: int = 0
    errors: int = 0
    total: float = 0.0
    highest: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        bucket = bucket_of(seconds)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        self.highest = max(self.highest, seconds)

    def merge(self, other: "Sketch") -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.errors += other.errors
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    @property
    def average(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def error_share(self) -> float | None:
        """Of all that ended, well or not."""
        ended = self.count + self.errors
        return self.errors / ended if ended else None

    def percentile(self, percent: float) -> float | None:
        """The smallest time that so many percent of all do not exceed; None when nothing was measured."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(value_of(bucket), self.highest)
        return None

    def share_above(self, seconds: float) -> float:
        """About which share took longer (a bucket that the limit lies in counts as not)."""
        limit = bucket_of(seconds)
        above = sum(count for bucket, count in self.buckets.items() if bucket > limit)
        return above / self.count if self.count else 0.0

    def packed(self) -> list[list[int]]:
        """The buckets as JSON keeps them."""
        return [[bucket, count] for bucket, count in sorted(self.buckets.items())]


def merged(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole


def of_values(values: Iterable[float], errors: int = 0) -> Sketch:
    """The sketch of times that are at hand, such as those of a load test."""
    sketch = Sketch(errors=errors)
    for value in values:
        sketch.add(value)
    return sketch


def unpacked(buckets: Iterable[tuple[int, int]]) -> dict[int, int]:
    return dict(buckets)
