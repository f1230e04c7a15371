"""How much belongs to whom: few have most, as on any site."""

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

YEARS = timedelta(days=730)
SPREAD = 0.8
"""Sigma of the log-normal sizes of documents and conversations."""


def shares(count: int) -> list[float]:
    """Zipf: the second has half of what the first has, the third a third."""
    return [1 / rank for rank in range(1, count + 1)]


def sizes(parts: int, total: int) -> list[int]:
    """A total in so many parts, at least one each and log-normal beyond that."""
    if not parts:
        return []
    weights = np.random.default_rng().lognormal(0, SPREAD, parts)
    extra = max(0, total - parts)
    bounds = np.concatenate([[0], np.round(np.cumsum(weights) / weights.sum() * extra)]).astype(int)
    return [1 + int(size) for size in np.diff(bounds)]


def times(count: int) -> Sequence[datetime]:
    """Moments of the last two years, in order."""
    start = datetime.now(UTC) - YEARS
    return [start + YEARS * ((number + random.random()) / (count + 1)) for number in range(count)]


def id_at(moment: datetime) -> uuid.UUID:
    """An id of version 7, as the site would have made it then."""
    milliseconds = int(moment.timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62))
