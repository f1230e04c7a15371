"""A read that a replica may serve, or the primary."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError, connections

from ragsite.backends.away import PoolTimeout
from ragsite.caching.registry import Keyspace
from ragsite.metrics.definitions import READS
from ragsite.replicas.fleet import Replica, fleet
from ragsite.replicas.position import needed
from ragsite.replicas.routing import reading_from

V = TypeVar("V")


def read(space: Keyspace[Any], owner: int, compute: Callable[[], V]) -> V:
    """What ``compute`` reads of an owner's rows, from a replica that has all that was changed in them.

    ``space`` is one of ``position.written``. ``compute`` only reads: when a replica fails it runs again on the primary.
    """
    replica, why = _chosen(space, owner)
    if replica is None:
        READS.labels(DEFAULT_DB_ALIAS, why).inc()
        return compute()
    there = connections[replica.alias]
    there.errors_occurred = False  # Django sets it where that connection fails
    try:
        with reading_from(replica.alias):
            value = compute()
    except (Error, PoolTimeout) as error:
        if there.errors_occurred and isinstance(error, (OperationalError, InterfaceError)):
            replica.failed(error)
        READS.labels(DEFAULT_DB_ALIAS, "failed").inc()
        return compute()
    replica.served()
    READS.labels(replica.alias, "").inc()
    return value


def _chosen(space: Keyspace[Any], owner: int) -> tuple[Replica | None, str]:
    """The replica, or why there is none."""
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return None, "transaction"
    if not fleet.anybody_there():
        return None, "away"
    position = needed(space, owner)
    if position is None:
        return None, "unknown"
    chosen = fleet.choose(position)
    return chosen, "" if chosen else "behind"
