"""When documents will be done: the work that is left by measured rates, and who comes before in the fair queue.

Owners take turns, and an owner's turns take what waits longest and what came last alternately (`processing.leases`).
So before a document come, of its owner's, twice as many as are nearer to one end of the owner's line; of each other
owner as many as of its own and one. They share the places of the workers. Nothing here is exact: documents come and
go, and rates change with what else the machine does. What was never measured has no estimate.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from documents.models import Document
from documents.queue.rates import Rates, measured_rates
from ragsite.heartbeat import worker_is_alive
from ragsite.sharding.line import ask_each
from ragsite.sharding.state import is_sharded

ENOUGH_MEASURED = 0.9
"""The share of documents whose time can be told, from which on the others count as the average of those."""
MOST_COUNTED = 10_000
"""Of one owner's documents that wait; what is further than half of it from both ends of the line counts as there."""
SAMPLED = 500
"""Of one owner's documents that wait, those whose seconds are told one by one; the others take as long as they do."""
COUNTED_ANEW = 5000
"""With more documents in work than these the count of the whole site is kept for a while: a second for each of them."""

IS_OPEN = f"d.status IN ({', '.join(repr(str(status)) for status in Document.IN_WORK)})"
OPEN = f"""
SELECT d.id, d.owner_id, d.status, d.due_at, coalesce(d.lease_expires_at > statement_timestamp(), false) AS leased,
CASE
  WHEN d.status = 'embedding' AND d.lease_expires_at > statement_timestamp() AND d.stage_progress >= 0.05
       AND NOT d.stage_seconds ? 'embedding'
    THEN extract(epoch FROM statement_timestamp() - d.stage_started_at) / d.stage_progress * (1 - d.stage_progress)
  WHEN d.status = 'embedding'
    THEN %(embedding_base)s::float8 + %(embedding_slope)s::float8 * d.chunk_count * (1 - d.stage_progress)
  ELSE CASE WHEN d.lease_expires_at > statement_timestamp() AND d.status = 'extracting' THEN 1 - d.stage_progress
            WHEN d.lease_expires_at > statement_timestamp() AND d.status = 'chunking' THEN 0 ELSE 1 END
       * (r.reading_base + r.reading_slope * d.size / 1e6)
     + %(finishing_base)s::float8
     + %(finishing_slope)s::float8 * (r.passages_base + r.passages_slope * d.size / 1e6)
END AS seconds
FROM documents_document d LEFT JOIN unnest(
  %(types)s::text[], %(reading_base)s::float8[], %(reading_slope)s::float8[],
  %(passages_base)s::float8[], %(passages_slope)s::float8[]
) AS r(type, reading_base, reading_slope, passages_base, passages_slope) ON r.type = d.content_type
WHERE {IS_OPEN}
"""  # noqa: S608  (constants)

WAITING = f"{IS_OPEN} AND (d.lease_expires_at IS NULL OR d.lease_expires_at <= statement_timestamp())"
# Each owner's documents are counted in an index (document_claim_idx), and their seconds are those of the first of them:
# what a request reads has a bound, however long the queue is. What is leased is found by document_lease_idx.
OWNERS = f"""
  (SELECT d.owner_id FROM documents_document d WHERE {IS_OPEN} ORDER BY d.owner_id LIMIT 1)
  UNION ALL SELECT (
    SELECT d.owner_id FROM documents_document d WHERE {IS_OPEN} AND d.owner_id > owners.id ORDER BY d.owner_id LIMIT 1
  ) FROM owners WHERE owners.id IS NOT NULL
"""  # noqa: S608
LINES_OF = f"""
WITH RECURSIVE owners (id) AS (<owners>
), leased AS MATERIALIZED (
  SELECT owner_id, count(*) AS count, count(seconds) AS measured, sum(seconds) AS seconds,
    min(seconds) AS quickest, max(seconds) AS slowest
  FROM ({OPEN} AND d.lease_expires_at > statement_timestamp()<only>) AS open GROUP BY owner_id
)
SELECT owners.id, waiting.count, waiting.count * first.measured / greatest(first.count, 1),
  waiting.count * first.seconds / greatest(first.count, 1),
  coalesce(leased.count, 0), coalesce(leased.measured, 0), leased.seconds, leased.quickest, leased.slowest, first.oldest
FROM owners CROSS JOIN LATERAL (
  SELECT count(*) FROM (
    SELECT 1 FROM documents_document d WHERE d.owner_id = owners.id AND {WAITING}
    ORDER BY d.due_at, d.id LIMIT %(most)s
  ) AS counted
) AS waiting CROSS JOIN LATERAL (
  SELECT count(*), count(seconds) AS measured, sum(seconds) AS seconds,
    extract(epoch FROM min(due_at))::float8 AS oldest
  FROM ({OPEN} AND {WAITING} AND d.owner_id = owners.id ORDER BY d.due_at, d.id LIMIT %(sampled)s) AS open
) AS first LEFT JOIN leased ON leased.owner_id = owners.id WHERE owners.id IS NOT NULL
"""  # noqa: S608
LINES = LINES_OF.replace("<owners>", OWNERS).replace("<only>", "")
# Where documents are distributed: of one owner, in his shard.
LINE = LINES_OF.replace("<owners>", "SELECT %(owner)s::bigint").replace("<only>", " AND d.owner_id = %(owner)s")
LINE = LINE.replace("owners.id", "%(owner)s::bigint")

PLACES = f"""
WITH line AS MATERIALIZED (
  SELECT id, row_number() OVER (ORDER BY due_at, id) - 1 AS older, NULL::bigint AS newer FROM (
    SELECT d.due_at, d.id FROM documents_document d WHERE d.owner_id = %(owner)s AND {WAITING}
    ORDER BY d.due_at, d.id LIMIT %(most)s / 2
  ) AS first
  UNION ALL
  SELECT id, NULL, row_number() OVER (ORDER BY due_at DESC, id DESC) - 1 FROM (
    SELECT d.due_at, d.id FROM documents_document d WHERE d.owner_id = %(owner)s AND {WAITING}
    ORDER BY d.due_at DESC, d.id DESC LIMIT %(most)s / 2
  ) AS last
)
SELECT open.id, status, leased, seconds, due_at, min(line.older), min(line.newer)
FROM ({OPEN} AND d.owner_id = %(owner)s AND d.id = ANY (%(ids)s::uuid[])) AS open
LEFT JOIN line ON line.id = open.id
GROUP BY open.id, status, leased, seconds, due_at
"""  # noqa: S608


@dataclass(frozen=True)
class Work:
    """Documents, how many of them can be told the time of, and their seconds together."""

    count: int = 0
    measured: int = 0
    known_seconds: float = 0.0

    @property
    def seconds(self) -> float | None:
        """Of all of them; None when too few can be told."""
        if not self.count:
            return 0.0
        if self.measured < ENOUGH_MEASURED * self.count:
            return None
        return self.known_seconds * self.count / self.measured

    def first(self, count: int) -> float | None:
        """About the seconds of so many of them."""
        return self.seconds and self.seconds * min(count, self.count) / self.count

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class OwnersLine:
    """What one owner has in the queue."""

    waiting: Work = field(default_factory=Work)
    in_work: Work = field(default_factory=Work)
    quickest: float | None = None
    slowest: float | None = None
    oldest: float | None = None
    """Since when, in seconds since 1970, the one waits that waits longest; in the future when it backs off."""


@dataclass(frozen=True)
class Forecast:
    """``remaining`` seconds until a document is processed, None while that cannot be told; ``ahead`` of it how many."""

    remaining: float | None
    ahead: int = 0

    @property
    def ready_at(self) -> datetime | None:
        return None if self.remaining is None else timezone.now() + timedelta(seconds=self.remaining)


@dataclass(frozen=True)
class Outlook:
    """The whole site's queue as it is now."""

    lines: dict[int, OwnersLine]
    rates: Rates
    stalled: bool
    """Documents wait, and no worker has been heard of."""

    @property
    def in_work(self) -> Work:
        return sum((line.in_work for line in self.lines.values()), Work())

    @property
    def waiting(self) -> Work:
        return sum((line.waiting for line in self.lines.values()), Work())

    @property
    def places(self) -> int:
        """How many documents are worked on at once, while there are as many."""
        wanted = self.in_work.count + self.waiting.count
        return max(1, self.in_work.count, min(settings.PROCESSING_PLACES, wanted))

    def of(self, owner_id: int) -> OwnersLine:
        return self.lines.get(owner_id, OwnersLine())

    def others(self, owner_id: int) -> list[OwnersLine]:
        return [line for other, line in self.lines.items() if other != owner_id]

    def remaining(self) -> float | None:
        """Seconds until everything is processed."""
        return self._shared(self.in_work.seconds, self.waiting.seconds, at_least=self._extreme(max, "slowest"))

    def remaining_of(self, owner_id: int) -> float | None:
        """Seconds until everything of one owner is processed; the others' documents take their turns meanwhile."""
        mine = self.of(owner_id)
        between = [line.waiting.first(mine.waiting.count) for line in self.others(owner_id)]
        return self._shared(mine.in_work.seconds, mine.waiting.seconds, *between, at_least=mine.slowest or 0.0)

    def until_begun(self, owner_id: int, before: int) -> tuple[int, float | None]:
        """How many come before a document that is behind ``before`` of its owner's, and how long until it begins."""
        others = self.others(owner_id)
        ahead = before + sum(min(line.waiting.count, before + 1) for line in others)
        if self.in_work.count + ahead < settings.PROCESSING_PLACES:
            return ahead, None if self.stalled else 0.0
        shares = [self.of(owner_id).waiting.first(before), *(line.waiting.first(before + 1) for line in others)]
        shared = self._shared(*shares)
        return ahead, None if shared is None else self._extreme(min, "quickest") + shared

    def _shared(self, *seconds: float | None, at_least: float = 0.0) -> float | None:
        known = [value for value in seconds if value is not None]
        if self.stalled or len(known) < len(seconds):
            return None
        return round(max(at_least, sum(known) / self.places), 1)

    def _extreme(self, choose: Any, name: str) -> float:
        found = [value for line in self.lines.values() if (value := getattr(line, name)) is not None]
        return float(choose(found, default=0.0))


def site_outlook() -> Outlook:
    """The queue of all owners."""
    rates = measured_rates()
    rows: list[list[Any]] | None = cache.get("queue:lines")
    if rows is None:
        rows = _counted(rates)
        count = sum(waiting + in_work for _, waiting, _, _, in_work, *_ in rows)
        if count > COUNTED_ANEW:
            cache.set("queue:lines", rows, count / COUNTED_ANEW)
    lines = {row[0]: _line(*row[1:]) for row in rows}
    idle = not any(line.in_work.count for line in lines.values())
    return Outlook(lines, rates, stalled=bool(lines) and idle and not worker_is_alive(*settings.DOCUMENT_QUEUES))


def _counted(rates: Rates) -> list[list[Any]]:
    if is_sharded():
        found = (row for _, rows in ask_each(LINE, _parameters(rates)) for row in rows)
        return [list(row) for row in found if row[1] or row[4]]
    with connection.cursor() as cursor:
        cursor.execute(LINES, _parameters(rates))
        return [list(row) for row in cursor.fetchall()]


def _line(*row: Any) -> OwnersLine:
    waiting, in_work = (Work(count, measured, total or 0.0) for count, measured, total in (row[:3], row[3:6]))
    return OwnersLine(waiting, in_work, *row[6:])


def _parameters(rates: Rates) -> dict[str, Any]:
    types = rates.content_types
    embedding, finishing = rates.embedding, rates.finishing
    reading = [rates.reading(name) for name in types]
    passages = [rates.passages(name) for name in types]
    return {
        "most": MOST_COUNTED,
        "sampled": SAMPLED,
        "types": types,
        "reading_base": [line and line.base for line in reading],
        "reading_slope": [line and line.slope for line in reading],
        "passages_base": [line and line.base for line in passages],
        "passages_slope": [line and line.slope for line in passages],
        "embedding_base": embedding and embedding.base,
        "embedding_slope": embedding and embedding.slope,
        "finishing_base": finishing and finishing.base,
        "finishing_slope": finishing and finishing.slope,
    }


def forecasts(documents: Iterable[Document], outlook: Outlook | None = None) -> dict[UUID, Forecast]:
    """Of each of the documents; as many queries for many as for one, and none when none is in work."""
    found = {row.id: _at_rest(row) for row in documents}
    by_owner: dict[int, list[UUID]] = defaultdict(list)
    for row in documents:
        if row.status in Document.IN_WORK:
            by_owner[row.owner_id].append(row.id)
    if by_owner:
        outlook = outlook or site_outlook()
        for owner_id, ids in by_owner.items():
            found |= _in_line(outlook, owner_id, ids)
    return found


def _at_rest(document: Document) -> Forecast:
    return Forecast(0.0 if document.status == Document.Status.PROCESSED else None)


def _in_line(outlook: Outlook, owner_id: int, ids: Sequence[UUID]) -> dict[UUID, Forecast]:
    with connection.cursor() as cursor:
        cursor.execute(PLACES, {**_parameters(outlook.rates), "owner": owner_id, "ids": list(ids)})
        return {row[0]: _forecast(outlook, owner_id, *row[1:]) for row in cursor.fetchall()}


def _forecast(
    outlook: Outlook,
    owner_id: int,
    status: str,
    leased: bool,
    own: float | None,
    due: datetime,
    older: int | None,
    newer: int | None,
) -> Forecast:
    if leased:
        return Forecast(None if own is None else round(own, 1))
    ahead, begins = outlook.until_begun(owner_id, _before(outlook.of(owner_id).waiting.count, status, older, newer))
    if begins is None or own is None:
        return Forecast(None, ahead)
    backing_off = (due - timezone.now()).total_seconds()
    return Forecast(round(max(begins, backing_off) + own, 1), ahead)


def _before(waiting: int, status: str, older: int | None, newer: int | None) -> int:
    """How many of its owner's have their turn before a document; a place that is None is far from that end."""
    far = MOST_COUNTED // 2
    if older is None:
        older = far if newer is None else max(0, waiting - newer - 1)
    if newer is None:
        newer = max(0, waiting - older - 1)
    return min(older + newer, 2 * min(older, newer) if status == Document.Status.UPLOADED else 2 * older)
