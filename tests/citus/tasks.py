"""How many shards a statement asks, told by Citus's own plan of it."""

from collections.abc import Iterator
from typing import Any


def task_counts(plan: Any) -> list[int]:
    """Of each part of the plan that is sent to shards: how many it asks."""
    return list(_found(plan))


def _found(part: Any) -> Iterator[int]:
    if isinstance(part, dict):
        if "Task Count" in part:
            yield int(part["Task Count"])
        for inner in part.values():
            yield from _found(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _found(inner)
