"""The queue where documents are distributed: the same questions, put to the shard of each owner in line."""

from collections.abc import Collection, Iterator
from typing import Any

from documents.models import Document
from documents.queue.kinds import CONDITIONS, FEW, FREE, SMALL, WORK, condition
from ragsite.routes import EMBED, INGEST_BULK, INGEST_SMALL, INTERACTIVE
from ragsite.sharding.line import ask_each, leave_line

WAITING = f"""
SELECT '{INTERACTIVE}', coalesce(sum(waiting), 0), min(since) FROM (
  SELECT count(*) FILTER (WHERE {FREE} AND {SMALL}) AS waiting, min(due_at) FILTER (WHERE {FREE} AND {SMALL}) AS since
  FROM (SELECT * FROM documents_document WHERE owner_id = %(owner)s AND {WORK} LIMIT {FEW + 1}) open
  HAVING count(*) <= {FEW}
) few
""" + "".join(  # noqa: S608  (constants)
    f"UNION ALL SELECT '{queue}', count(*), min(due_at) FROM (SELECT due_at FROM documents_document "  # noqa: S608
    f"WHERE owner_id = %(owner)s AND {FREE} AND {CONDITIONS[queue]} LIMIT %(most)s) next_{number}\n"
    for number, queue in enumerate((INGEST_SMALL, INGEST_BULK, EMBED))
)
NEXT = f"""
SELECT id, due_at, (
  SELECT count(*) FROM documents_document WHERE owner_id = %(owner)s AND lease_expires_at > statement_timestamp()
) FROM (
  (SELECT d.id, d.due_at, %(newest)s AS later, 0 AS newness
   FROM documents_document d WHERE d.owner_id = %(owner)s AND {FREE} AND {{kinds}} AND d.size < %(size)s
   ORDER BY d.due_at, d.id LIMIT 8)
  UNION ALL
  (SELECT d.id, d.due_at, false, row_number() OVER (ORDER BY d.uploaded_at DESC, d.id DESC)
   FROM documents_document d
   WHERE %(newest)s AND d.owner_id = %(owner)s AND d.status = 'uploaded' AND {FREE} AND {{kinds}} AND d.size < %(size)s
   ORDER BY d.uploaded_at DESC, d.id DESC LIMIT 8)
) next ORDER BY later, newness, due_at
"""  # noqa: S608
OPEN = f"SELECT 1 FROM documents_document WHERE owner_id = %(owner)s AND {WORK} LIMIT 1"  # noqa: S608
ANY_SIZE = (1 << 63) - 1


def waiting(most: int) -> dict[str, tuple[int, float | None]]:
    """As ``kinds.waiting``, of the shards that are there."""
    found: dict[str, tuple[int, float | None]] = {}
    for _, rows in ask_each(WAITING, {"most": most}):
        for queue, count, due_at in rows:
            known, since = found.get(queue, (0, None))
            times = [since, due_at and due_at.timestamp()]
            found[queue] = min(most, known + int(count)), min((time for time in times if time), default=None)
    return found


def candidates(queues: Collection[str], small_only: bool) -> Iterator[tuple[int, list[Any]]]:
    """Whose documents may be claimed next, and which: who has the fewest in work first, of those who waits longest."""
    found = []
    for standing, rows in ask_each(_next(queues), _sizes(small_only)):
        if rows:
            found.append((rows[0][2], standing.owner_id, [row[0] for row in rows]))
    for _, owner_id, ids in sorted(found, key=lambda entry: entry[0]):  # stable: in the order of the line
        yield owner_id, ids


def next_due(queues: Collection[str]) -> Document | None:
    """As ``kinds.next_due``."""
    found = [
        (row[1], standing.owner_id, row[0])
        for standing, rows in ask_each(_next(queues), _sizes(False)) for row in rows
    ]  # fmt: skip
    if not found:
        return None
    _, owner_id, document = min(found)
    return Document.objects.filter(owner=owner_id, id=document).first()


def clear_line() -> None:
    """Owners without work leave it; who cannot be asked stays."""
    for standing, rows in ask_each(OPEN, {}):
        if not rows:
            leave_line(standing.owner_id)


def _next(queues: Collection[str]) -> str:
    return NEXT.format(kinds=condition(queues, "d").replace("= d.owner_id", "= %(owner)s"))


def _sizes(small_only: bool) -> dict[str, int]:
    return {"size": Document.LARGE_BYTES if small_only else ANY_SIZE}
