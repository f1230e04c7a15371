"""Tables partitioned by time: partitions are made ahead, and what is old goes with its partition.

The key is an id of version 7, which begins with its moment (RFC 9562), or a moment itself: whoever asks by the id reads
one partition. A week has a partition; rows that fit none lie in the default partition, so that no insert ever fails.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from ragsite.partitioning.catalog import DEFAULT, Partition, partitions, rows, tables
from ragsite.partitioning.locking import briefly_locked

WEEK = timedelta(days=7)
AHEAD = 4
"""Weeks for which there are partitions before they begin;"""
LEAST_AHEAD = 1
"""with fewer something is wrong."""
GRACE = timedelta(days=1)
"""Since when a partition may be gone, before somebody is told."""
KEY_TYPE = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"


def week_of(moment: datetime) -> datetime:
    """The Monday that its week begins with, in UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def first_id(moment: datetime) -> UUID:
    """The lowest id of version 7 that this moment may give."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def moment_of(identifier: UUID) -> datetime:
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


@dataclass(frozen=True)
class Timed:
    """A table by weeks. ``kept`` is None where nothing goes."""

    table: str
    key: str
    by_id: bool
    kept: timedelta | None

    def value(self, moment: datetime) -> str:
        """A limit, as SQL has it between quotes."""
        return str(first_id(moment)) if self.by_id else moment.isoformat()

    def limits(self, partition: Partition) -> tuple[datetime | None, datetime | None]:
        first, last = (self._moment(value) if value else None for value in partition.limits)
        return first, last

    def default(self, found: list[Partition]) -> Partition | None:
        return next((one for one in found if one.bound == DEFAULT), None)

    def missing(self, found: list[Partition], weeks: int) -> list[datetime]:
        """The weeks from this one on that have no partition."""
        limits = [self.limits(one) for one in found if one.bound != DEFAULT]
        wanted = [week_of(timezone.now()) + number * WEEK for number in range(weeks + 1)]
        return [week for week in wanted if not any(_holds(limit, week) for limit in limits)]

    def old(self, found: list[Partition], grace: timedelta = timedelta(0)) -> list[Partition]:
        """Those of which every row may go."""
        if self.kept is None:
            return []
        oldest = timezone.now() - self.kept - grace
        ends = [(one, self.limits(one)[1]) for one in found]
        return [one for one, end in ends if end is not None and end <= oldest]

    def wanting(self, found: list[Partition]) -> Iterator[tuple[str, str]]:
        """What is wrong, each with a code."""
        default = self.default(found)
        if default is None:
            yield "no-default", f"{self.table} has no default partition: an insert may fail"
        elif rows(f"SELECT EXISTS (SELECT 1 FROM {default.name})")[0][0]:  # noqa: S608
            yield "default", f"{default.name} holds rows, which no drop removes"
        if weeks := self.missing(found, LEAST_AHEAD):
            yield "ahead", f"{self.table} has no partition for the week from {weeks[0]:%Y-%m-%d}"
        for one in self.old(found, GRACE):
            yield "old", f"{one.name} should be gone"

    def as_json(self, one: Partition) -> dict[str, Any]:
        first, last = self.limits(one)
        return {
            "from": first and first.isoformat(),
            "to": last and last.isoformat(),
            "age_days": last and round((timezone.now() - last) / timedelta(days=1), 1),
        }

    def remark(self, one: Partition) -> str:
        first, last = self.limits(one)
        if last is None:
            return "whatever fits no other"
        age = (timezone.now() - last).days
        told = f"{age} days old" if age >= 0 else "present" if first is None or first <= timezone.now() else "coming"
        return f"{f'{first:%Y-%m-%d}' if first else '…'} to {last:%Y-%m-%d}, {told}"

    def _moment(self, value: str) -> datetime:
        return moment_of(UUID(value)) if self.by_id else datetime.fromisoformat(value).astimezone(UTC)


def timed_tables() -> list[Timed]:
    """Every table that is partitioned by a range; how long its rows are kept is a setting."""
    return [
        Timed(table.name, table.key[0], _is_id(table.name, table.key[0]), settings.PARTITIONS_KEPT.get(table.name))
        for table in tables("r")
    ]


def upkeep() -> list[str]:
    """Make the partitions of the coming weeks, drop old ones. Returns what was done, a sentence each."""
    return [sentence for timed in timed_tables() for sentence in (*make_ahead(timed), *drop_old(timed))]


def make_ahead(timed: Timed) -> Iterator[str]:
    found = partitions(timed.table)
    for week in timed.missing(found, AHEAD):
        default = timed.default(found)
        briefly_locked(making(timed, week, default.name if default else None))
        yield f"made {_name(timed, week)}"


def making(timed: Timed, week: datetime, default: str | None) -> list[str]:
    """The statements that make the partition of a week. Rows of it that lie in the default partition move there."""
    name, first, last = _name(timed, week), timed.value(week), timed.value(week + WEEK)
    made = [f"CREATE TABLE {name} (LIKE {timed.table} INCLUDING ALL)"]
    if default:
        where = f"{timed.key} >= '{first}' AND {timed.key} < '{last}'"
        taken = f"WITH taken AS (DELETE FROM {default} WHERE {where} RETURNING *)"  # noqa: S608
        made += [f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE", f"{taken} INSERT INTO {name} SELECT * FROM taken"]  # noqa: S608
    return [*made, f"ALTER TABLE {timed.table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{last}')"]


def drop_old(timed: Timed) -> Iterator[str]:
    found = partitions(timed.table)
    for one in timed.old(found):
        briefly_locked([f"DROP TABLE {one.name}"])
        yield f"dropped {one.name}, {one.rows:,} rows"
    default = timed.default(found)
    if default and timed.kept:
        oldest = timed.value(timezone.now() - timed.kept)
        gone = rows(f"WITH gone AS (DELETE FROM {default.name} WHERE {timed.key} < %s RETURNING 1) "  # noqa: S608
                    "SELECT count(*) FROM gone", [oldest])[0][0]  # fmt: skip
        if gone:
            yield f"removed {gone:,} old rows of {default.name}"


def _name(timed: Timed, week: datetime) -> str:
    return f"{timed.table}_w{week:%Y%m%d}"


def _holds(limits: tuple[datetime | None, datetime | None], week: datetime) -> bool:
    first, last = limits
    return (first is None or first <= week) and (last is None or week < last)


def _is_id(table: str, key: str) -> bool:
    return bool(rows(KEY_TYPE, [table, key])[0][0] == "uuid")
