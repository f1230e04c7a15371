"""What the database says about its partitioned tables."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

HASH_BOUND = re.compile(r"modulus (\d+), remainder (\d+)", re.IGNORECASE)
RANGE_BOUND = re.compile(r"FROM \((?:'([^']+)'|MINVALUE)\) TO \((?:'([^']+)'|MAXVALUE)\)")
DEFAULT = "DEFAULT"

TABLES = """
SELECT c.relname, p.partstrat::text, ARRAY(
  SELECT a.attname::text FROM unnest(p.partattrs::int2[]) WITH ORDINALITY AS key(number, place)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = key.number ORDER BY key.place)
FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition ORDER BY c.relname
"""
PARTITIONS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid),
  CASE WHEN c.reltuples >= 0 THEN c.reltuples ELSE coalesce(s.n_live_tup, 0) END::bigint,
  pg_relation_size(c.oid), pg_indexes_size(c.oid), coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""
# Of the statistics that autovacuum keeps: no row is read, however large the partition is.
OWNERS = """
SELECT tablename, most_common_vals::text::bigint[], most_common_freqs FROM pg_stats
WHERE schemaname = current_schema() AND attname = 'owner_id' AND tablename = ANY (%s) AND most_common_vals IS NOT NULL
"""


@dataclass(frozen=True)
class Table:
    """A partitioned table: ``strategy`` is ``h`` (hash) or ``r`` (range)."""

    name: str
    strategy: str
    key: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """Sizes are in bytes; ``rows`` is what the statistics say."""

    name: str
    bound: str
    rows: int
    heap: int
    indexes: int
    toast: int

    @property
    def total(self) -> int:
        return self.heap + self.indexes + self.toast

    @property
    def modulus(self) -> int:
        return self._hash_bound()[0]

    @property
    def remainder(self) -> int:
        return self._hash_bound()[1]

    @property
    def limits(self) -> tuple[str | None, str | None]:
        """The first value that a range holds, and the first beyond it; None: no limit."""
        match = RANGE_BOUND.search(self.bound)
        return (match[1], match[2]) if match else (None, None)

    def _hash_bound(self) -> tuple[int, int]:
        match = HASH_BOUND.search(self.bound)
        if not match:
            raise ValueError(f"{self.name} is no hash partition: {self.bound}")
        return int(match[1]), int(match[2])


def rows(sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def exists(table: str) -> bool:
    return rows("SELECT to_regclass(%s) IS NOT NULL", [table])[0][0]


def tables(strategy: str | None = None) -> list[Table]:
    """The partitioned tables, but for what a split has in work."""
    found = [Table(name, kind, tuple(key)) for name, kind, key in rows(TABLES)]
    return [one for one in found if not one.name.endswith("_split") and strategy in {None, one.strategy}]


def partitions(table: str) -> list[Partition]:
    return [Partition(*row) for row in rows(PARTITIONS, [table])]


def owners_of(names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Of each partition that has been analysed: its most frequent owners, each with a share of the rows."""
    return {name: list(zip(owners, shares, strict=True)) for name, owners, shares in rows(OWNERS, [list(names)])}
