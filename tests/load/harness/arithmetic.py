"""The report's arithmetic, with nothing of the site in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below ``share`` per cent of all (nearest rank): a value that was measured."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


@dataclass(frozen=True)
class Distribution:
    """Seconds, or whatever was measured."""

    count: int
    average: float
    p50: float
    p95: float
    p99: float
    most: float


def distribution(values: Sequence[float]) -> Distribution | None:
    """None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    ranks = (percentile(ordered, share) for share in (50, 95, 99))
    return Distribution(len(ordered), math.fsum(ordered) / len(ordered), *ranks, ordered[-1])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """What y grows by when x grows by one: least squares. 0 of fewer than two points or of one moment."""
    if len(points) < 2:
        return 0.0
    mean_x = math.fsum(x for x, _ in points) / len(points)
    mean_y = math.fsum(y for _, y in points) / len(points)
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def share_of(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def middle_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of several runs, the least and the most."""
    return percentile(values, 50), min(values), max(values)
