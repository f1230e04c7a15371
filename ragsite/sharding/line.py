"""Who may have documents to process: a local table of the coordinator, where the documents themselves are distributed.

To look for work over all shards would fail as soon as one of them is away, and everybody's documents would wait. So
the owners stand in line here, and each one's documents are looked for in his own shard.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction

from ragsite.sharding.state import is_sharded
from ragsite.sharding.tables import LINE

logger = logging.getLogger(__name__)

# Locks the row once a minute at most: uploads of one owner do not wait for each other.
STAND = f"""
INSERT INTO {LINE} AS line (owner_id) VALUES (%s)
ON CONFLICT (owner_id) DO UPDATE SET touched_at = now() WHERE line.touched_at < now() - interval '1 minute'
"""  # noqa: S608  (constants)
STANDING = f"""
SELECT owner_id, coalesce(newest_next, false), (
  SELECT min(groupid) FROM pg_dist_placement
  WHERE shardid = get_shard_id_for_distribution_column('documents_document', owner_id))
FROM {LINE} LEFT JOIN processing_turn USING (owner_id) ORDER BY claimed_at NULLS FIRST, owner_id
"""  # noqa: S608
# An upload that has not been committed yet would not be seen: who came lately is not sent away.
LEAVE = f"DELETE FROM {LINE} WHERE owner_id = %s AND touched_at < now() - interval '10 minutes'"  # noqa: S608


@dataclass(frozen=True)
class Standing:
    """An owner in line; ``node`` is where his shards are."""

    owner_id: int
    newest_next: bool
    node: int


def has_work(owner_id: int) -> None:
    """Have an owner stand in line, in the transaction that gives him something to process."""
    if is_sharded():
        with connection.cursor() as cursor:
            cursor.execute(STAND, [owner_id])


def leave_line(owner_id: int) -> None:
    """He has nothing to process; who came lately stays."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVE, [owner_id])


def ask_each(sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Standing, list[tuple[Any, ...]]]]:
    """The rows of a statement about ``%(owner)s``, for each owner in line, who was served longest ago first.

    Those whose node is away are left out.
    """
    away: set[int] = set()
    for standing in _standing():
        if standing.node not in away:
            try:
                yield standing, _asked(sql, {**parameters, "owner": standing.owner_id, "newest": standing.newest_next})
            except (OperationalError, InterfaceError) as error:
                if not connection.is_usable():
                    raise  # it is the coordinator that is away
                away.add(standing.node)
                logger.warning("Documents of shards that are away wait: %s", str(error).strip().splitlines()[0])


def _standing() -> list[Standing]:
    with connection.cursor() as cursor:
        cursor.execute(STANDING)
        return [Standing(*row) for row in cursor.fetchall()]


def _asked(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with transaction.atomic(savepoint=connection.in_atomic_block), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
