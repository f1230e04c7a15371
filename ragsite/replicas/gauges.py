"""How far the replicas are behind, as Prometheus reads it."""

from collections.abc import Iterator

import psycopg2
from django.conf import settings
from prometheus_client import Metric

from ragsite.metrics.gauges import gauge
from ragsite.replicas import position
from ragsite.replicas.fleet import Sighting, connect, sight


def replica_gauges() -> Iterator[Metric]:
    seen = {alias: sighting for alias in settings.REPLICAS if (sighting := _sighted(alias))}
    written = position.of_primary().lsn
    seconds = {alias: sighting.lag for alias, sighting in seen.items()}
    missing = {alias: float(max(0, written - sighting.lsn)) for alias, sighting in seen.items()}
    yield gauge("ragsite_replica_lag_seconds", "How far a replica is behind the primary.", seconds, "server")
    yield gauge("ragsite_replica_lag_bytes", "The same in bytes of the log.", missing, "server")


def _sighted(alias: str) -> Sighting | None:
    """None of one that does not answer, or that is no replica any more."""
    try:
        connection = connect(alias)
    except psycopg2.Error:
        return None
    try:
        seen = sight(connection)
    except psycopg2.Error:
        return None
    finally:
        connection.close()
    return seen if seen.is_replica else None
