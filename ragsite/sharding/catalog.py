"""What the database says of its tables: which are distributed, what their constraints and triggers are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

CITUS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
DISTRIBUTED = "SELECT logicalrelid::regclass::text, partmethod::text FROM pg_dist_partition"
FUNCTIONS = "SELECT objid::regprocedure::text FROM pg_catalog.pg_dist_object WHERE classid = 'pg_proc'::regclass"
CONFIGURED = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE EXISTS (SELECT FROM unnest(proconfig) AS entry WHERE entry LIKE %(setting)s || '=%%')
"""
FOREIGN_KEYS = """
SELECT c.conrelid::regclass::text, c.conname, c.confrelid::regclass::text, pg_get_constraintdef(c.oid), ARRAY(
  SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_constraint c
WHERE c.contype = 'f' AND c.conparentid = 0 AND (c.conrelid::regclass::text = ANY (%(tables)s)
  OR c.confrelid::regclass::text = ANY (%(tables)s))
ORDER BY 1, 2
"""
UNIQUE_INDEXES = """
SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, coalesce(c.contype::text, ''),
  pg_get_indexdef(i.indexrelid), ARRAY(
    SELECT a.attname::text FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k (number, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
WHERE i.indisunique AND i.indrelid::regclass::text = ANY (%(tables)s)
ORDER BY 1, i.indisprimary DESC, 2
"""
EXISTING = "SELECT name FROM unnest(%(tables)s) AS name WHERE to_regclass(name) IS NOT NULL"

LOCAL_ROWS = """
SELECT name FROM unnest(%(tables)s) AS name
WHERE pg_relation_size(to_regclass(name)) > 0
  OR EXISTS (SELECT FROM pg_partition_tree(to_regclass(name)) WHERE pg_relation_size(relid) > 0)
"""


@dataclass(frozen=True)
class ForeignKey:
    """``columns`` of ``table`` point at ``target``; ``definition`` as SQL writes it."""

    table: str
    name: str
    target: str
    definition: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class UniqueIndex:
    """``kind`` is ``p`` for the primary key, ``u`` for a constraint, else empty."""

    table: str
    name: str
    kind: str
    definition: str
    columns: tuple[str, ...]


def has_citus() -> bool:
    return bool(_rows(CITUS)[0][0])


def distributed() -> dict[str, str]:
    """Tables that Citus knows: ``h`` is distributed by a column, ``n`` a reference table or a local one."""
    return dict(_rows(DISTRIBUTED)) if has_citus() else {}


def propagated_functions() -> set[str]:
    """Functions that Citus keeps alike on all nodes, as ``name(type,type)``."""
    return {row[0] for row in _rows(FUNCTIONS)} if has_citus() else set()


def functions_with(setting: str) -> set[str]:
    """Functions that set it for as long as they run."""
    return {row[0] for row in _rows(CONFIGURED, setting=setting)}


def foreign_keys(tables: Iterable[str]) -> list[ForeignKey]:
    """Those of the tables, and those that point at them."""
    rows = _rows(FOREIGN_KEYS, tables=list(tables))
    return [
        ForeignKey(table, name, target, definition, tuple(columns)) for table, name, target, definition, columns in rows
    ]


def unique_indexes(tables: Iterable[str]) -> list[UniqueIndex]:
    rows = _rows(UNIQUE_INDEXES, tables=list(tables))
    return [
        UniqueIndex(table, name, kind, definition, tuple(columns)) for table, name, kind, definition, columns in rows
    ]


def existing(tables: Iterable[str]) -> set[str]:
    return {row[0] for row in _rows(EXISTING, tables=list(tables))}


def with_local_rows(tables: Iterable[str]) -> set[str]:
    """Those that take up space on this server itself, also in their partitions; shards do not count."""
    return {row[0] for row in _rows(LOCAL_ROWS, tables=list(tables))}


def _rows(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()
