"""How far the primary's log had come after an owner's rows were last changed: a replica that has replayed as much has
all that the owner has written.

It is looked up once after a change, by the first who reads, and kept in Valkey as a value that is made of the rows
(``ragsite.caching``): so it is barred while a change is being committed, forgotten with it, and never believed after an
outage. What is missing is asked for anew and never guessed.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from ragsite import caching
from ragsite.caching.registry import Dependency, Keyspace

PRIMARY = """
SELECT (lsn - '0/0'::pg_lsn)::bigint, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::integer
FROM pg_current_wal_insert_lsn() lsn
"""


@dataclass(frozen=True)
class Position:
    """A place in the log: bytes since its beginning, on a timeline (each promotion begins a new one)."""

    lsn: int
    timeline: int


def written(name: str, what: str, *things: Dependency) -> Keyspace[Any]:
    """A keyspace of positions. Whatever is read by them must tell one of these owner-wide things when it is changed."""
    return Keyspace(
        name,
        {"owner": int},
        f"How far the primary's log had come when {what} were last changed, where there are replicas.",
        timedelta(hours=1),
        things,
        switchable=False,
    )


def needed(space: Keyspace[Any], owner: int) -> Position | None:
    """What a replica must have replayed before this owner reads there; None where Valkey cannot tell: the primary."""
    seen = caching.look(space, owner=owner)
    if seen.found and seen.value is not None:
        return Position(*seen.value)
    if seen.stamps is None:
        return None
    found = of_primary()
    caching.fill(seen, [found.lsn, found.timeline])
    return found


def of_primary() -> Position:
    """How far its log has come."""
    with connection.cursor() as cursor:
        cursor.execute(PRIMARY)
        return Position(*cursor.fetchone())
