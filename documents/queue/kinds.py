"""Which queue a document waits in, by how urgent it is and what it costs next; and what workers of some queues take.

Nothing of it stands on the row: a document is to be embedded when it has come so far, and is no longer interactive
when its owner puts in a hundred more.
"""

from collections.abc import Collection
from datetime import datetime

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from documents.models import Document
from documents.querysets import DocumentQuerySet
from ragsite.routes import DOCUMENT_QUEUES, EMBED, INGEST_BULK, INGEST_SMALL, INTERACTIVE
from ragsite.sharding.state import is_sharded

FEW = 3
"""Who has no more documents than these in work waits for them, and does not fill a library."""
WORK = f"status IN ({', '.join(repr(str(status)) for status in Document.IN_WORK)})"
# The statement's time, not the transaction's: a claim must see what became due since the transaction began.
FREE = (
    f"{WORK} AND due_at <= statement_timestamp() "
    "AND (lease_expires_at IS NULL OR lease_expires_at < statement_timestamp())"
)

_OF_FEW = f"""(SELECT count(*) FROM (
  SELECT FROM documents_document w WHERE w.owner_id = {{table}}.owner_id AND w.{WORK} LIMIT {FEW + 1}
) few) <= {FEW}"""  # noqa: S608  (constants)
SMALL = f"status <> 'embedding' AND size < {Document.LARGE_BYTES}"
CONDITIONS = {
    INTERACTIVE: f"{SMALL} AND {_OF_FEW}",
    INGEST_SMALL: SMALL,
    INGEST_BULK: f"status <> 'embedding' AND size >= {Document.LARGE_BYTES}",
    EMBED: "status = 'embedding'",
}
"""The first is a part of the second; the other three leave nothing out."""

# By a loose scan over document_claim_idx: one step for each owner, however many documents wait.
OWNERS_WITH_WORK = f"""WITH RECURSIVE owners(owner_id) AS (
  (SELECT owner_id FROM documents_document WHERE {WORK} ORDER BY owner_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.owner_id FROM documents_document d WHERE {WORK} AND d.owner_id > owners.owner_id
          ORDER BY d.owner_id LIMIT 1)
  FROM owners WHERE owners.owner_id IS NOT NULL
)"""  # noqa: S608  (constants)
# Of each owner as many rows as tell whether they are few.
_WAITING_OF_FEW = f"""
{OWNERS_WITH_WORK}
SELECT '{INTERACTIVE}' AS queue, coalesce(sum(waiting), 0), min(since) FROM owners CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE {FREE} AND {SMALL}) AS waiting, min(due_at) FILTER (WHERE {FREE} AND {SMALL}) AS since
  FROM (SELECT * FROM documents_document d WHERE {WORK} AND d.owner_id = owners.owner_id LIMIT {FEW + 1}) open
  HAVING count(*) <= {FEW}
) few
"""  # noqa: S608
WAITING = " UNION ALL ".join(
    [_WAITING_OF_FEW]
    + [
        f"SELECT '{queue}', count(*), min(due_at) FROM (SELECT due_at FROM documents_document "  # noqa: S608
        f"WHERE {FREE} AND {CONDITIONS[queue]} LIMIT %(most)s) next"
        for queue in (INGEST_SMALL, INGEST_BULK, EMBED)
    ]
)


def condition(queues: Collection[str], table: str = "documents_document") -> str:
    """What workers of these queues take, as SQL on the columns of ``table``."""
    if {INGEST_SMALL, INGEST_BULK, EMBED} <= set(queues):
        return "TRUE"
    alternatives = [f"({text.format(table=table)})" for queue, text in CONDITIONS.items() if queue in queues]
    return f"({' OR '.join(alternatives)})" if alternatives else "FALSE"


def claimable(queues: Collection[str]) -> DocumentQuerySet:
    """The documents that workers of these queues may begin now."""
    return Document.objects.claimable().filter(RawSQL(condition(queues), (), output_field=BooleanField()))


def queue_for(document: Document, queues: Collection[str] = DOCUMENT_QUEUES) -> str:
    """The queue that it waits in, of those given; asks how many its owner has in work."""
    if document.status == Document.Status.EMBEDDING:
        return EMBED
    if document.is_large:
        return INGEST_BULK
    if INTERACTIVE not in queues:
        return INGEST_SMALL
    few = len(Document.objects.in_work().filter(owner_id=document.owner_id).values_list("id")[: FEW + 1]) <= FEW
    return INTERACTIVE if few or INGEST_SMALL not in queues else INGEST_SMALL


def longest_due(queues: Collection[str]) -> datetime | None:
    """Since when that document is due, of those that workers of these queues may begin now, that is so for longest."""
    document = next_due(queues)
    return document.due_at if document else None


def next_due(queues: Collection[str]) -> Document | None:
    """The document that has been due for longest, of those that workers of these queues may begin now."""
    if is_sharded():
        from documents.queue import shards

        return shards.next_due(queues)
    return claimable(queues).order_by("due_at").only("id", "owner_id", "status", "size", "due_at").first()


def waiting(most: int) -> dict[str, tuple[int, float | None]]:
    """Of each queue how many are due, and since when the longest waiting one is (a timestamp), both of the first
    ``most`` that are found. What is interactive counts as small too."""
    if is_sharded():
        from documents.queue import shards

        return shards.waiting(most)
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"most": most})
        return {queue: (int(count), due_at and due_at.timestamp()) for queue, count, due_at in cursor.fetchall()}
