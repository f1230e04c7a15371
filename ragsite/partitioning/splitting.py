"""More hash partitions while the site goes on: one partition after the other is split.

Beside the partition stand new, empty ones; a trigger repeats there what is written; what was there before is copied in
small batches; indexes are built concurrently; then catalogue entries are exchanged in one short transaction. What has
been done stands in the database itself, so a killed run is gone on with by the next, or undone.
"""

import time
from collections.abc import Callable, Iterator

from django.db import connection, transaction

from ragsite.partitioning import blueprint as blueprints
from ragsite.partitioning.blueprint import Blueprint
from ragsite.partitioning.catalog import Partition, exists, partitions, rows, tables
from ragsite.partitioning.locking import briefly_locked

BATCH = 2000
PATIENCE = 600
"""Tries for a batch of which rows stay locked by others, a tenth of a second apart."""
ADVISORY = 7_302_115
VALID = """
SELECT c.relname::text, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s::regclass
"""
INDEXES_OF_PARENT = """
SELECT own.relname::text, i.indisvalid, EXISTS (
  SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u'))
FROM pg_index i JOIN pg_class own ON own.oid = i.indexrelid WHERE i.indrelid = %s::regclass ORDER BY 1
"""
MIRROR = "SELECT prosrc FROM pg_proc WHERE proname = %s AND pronamespace = current_schema()::regnamespace"
CHECKED = "SELECT conname::text, convalidated FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"


class CannotSplit(Exception):
    """Why, for people."""


class Changed(Exception):
    """The table has other columns or indexes than when the split began: a migration came between."""


Tell = Callable[[str], None]


def chosen(target: int, only: str = "") -> Iterator[Blueprint]:
    """What has to be split so that every hash-partitioned table has ``target`` partitions. Raises CannotSplit."""
    found = [table for table in tables("h") if only in {"", table.name}]
    if not found:
        raise CannotSplit(f"there is no hash-partitioned table {only}".rstrip())
    for table in found:
        _refuse_distributed(table.name)
        for partition in sorted(partitions(table.name), key=lambda one: one.remainder):
            if target % partition.modulus and partition.modulus % target:
                raise CannotSplit(f"{table.name} has partitions of modulus {partition.modulus}: choose a multiple")
            if partition.modulus < target:
                yield blueprints.read(table.name, partition, target, table.key[0])


def unfinished() -> Iterator[tuple[str, Partition]]:
    """Tables and partitions of which a split was begun."""
    for table in tables("h"):
        for partition in partitions(table.name):
            if exists(f"{partition.name}_split"):
                yield table.name, partition


def begun(parent: str, partition: Partition) -> Blueprint:
    """The blueprint of a split that was begun, with the target that it was begun with."""
    found = partitions(f"{partition.name}_split")
    key = next(table.key[0] for table in tables("h") if table.name == parent)
    return blueprints.read(parent, partition, found[0].modulus, key)


def undo(parent: str, partition: Partition) -> None:
    """Back to the one partition; nothing is lost, whatever has been copied."""
    plan = begun(parent, partition)
    briefly_locked(plan.undoing(), plan.quiet())


def alone() -> bool:
    """Whether no other process is at it; held until this connection ends."""
    return rows("SELECT pg_try_advisory_lock(%s)", [ADVISORY])[0][0]


def release() -> None:
    rows("SELECT pg_advisory_unlock(%s)", [ADVISORY])


def keep_away() -> bool:
    """For a migration: no split begins until ``let_begin`` or the end of this connection. False: one is at work."""
    return rows("SELECT pg_try_advisory_lock_shared(%s)", [ADVISORY])[0][0]


def let_begin() -> None:
    rows("SELECT pg_advisory_unlock_shared(%s)", [ADVISORY])


def split(plan: Blueprint, tell: Tell, batch: int = BATCH, pause: float = 0.0) -> None:
    """Do it, or go on with it. Raises Busy, CannotSplit and what the database says."""
    if exists(plan.shadow) and not _fits(plan):
        tell(f"{plan.source}: was changed since its split began; begun anew")
        undo(plan.parent, plan.partition)
    if not exists(plan.shadow):
        plan = _begin(plan)
    started = time.monotonic()
    copied = copy(plan, batch, pause)
    tell(f"{plan.source}: {copied:,} rows copied in {time.monotonic() - started:.1f} s")
    build(plan)
    _compare(plan, batch, pause)
    began = time.monotonic()
    try:
        tries = briefly_locked(plan.swap(), plan.quiet(), lambda: _check_unchanged(plan))
    except Changed:
        tell(f"{plan.source}: was changed at the last moment; begun anew")
        undo(plan.parent, plan.partition)
        return split(_read_again(plan), tell, batch, pause)
    tell(f"{plan.source}: is {', '.join(plan.children)} now ({tries} tries, {time.monotonic() - began:.2f} s)")


def _begin(plan: Blueprint) -> Blueprint:
    """Make the new partitions. Returns the plan by which that was done: it may have been read long before its turn."""
    try:
        briefly_locked(plan.creation(), check=lambda: _check_unchanged(plan))
    except Changed:
        return _begin(_read_again(plan))
    return plan


def copy(plan: Blueprint, batch: int = BATCH, pause: float = 0.0) -> int:
    """Copy what is missing. Returns how many rows that was."""
    after: list[str] | None = None
    copied, waited = 0, 0
    while True:
        size, missing, locked, done, last = _copy_batch(plan, batch, after)
        copied += done
        if missing > locked:  # someone is changing these rows
            waited += 1
            if waited > PATIENCE:
                raise CannotSplit(f"rows of {plan.source} stay locked; see pg_stat_activity for who holds them")
            time.sleep(0.1)
            continue
        after, waited = last, 0
        if size < batch:
            return copied
        time.sleep(pause)


def _copy_batch(plan: Blueprint, size: int, after: list[str] | None) -> tuple[int, int, int, int, list[str]]:
    sql = plan.copying().format(where=plan.after() if after else "", size=size)
    with transaction.atomic(), connection.cursor() as cursor:
        # By the key, always: a plan that reads the whole partition for a batch would be made from estimates.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_hashjoin = off")
        cursor.execute("SET LOCAL enable_mergejoin = off")
        cursor.execute(sql, after)
        return cursor.fetchone()


def build(plan: Blueprint) -> None:
    """Indexes, foreign keys and statistics of the new partitions, as far as they are missing."""
    for child in plan.children:
        wanted, there = plan.index_creation(child), dict(rows(VALID, [child]))
        with connection.cursor() as cursor:
            for name in [name for name in wanted if there.get(name) is False]:
                cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
                del there[name]
            for name, statement in wanted.items():
                if name not in there:
                    cursor.execute(statement)
        _add_keys(plan, child)
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {child}")


def _add_keys(plan: Blueprint, child: str) -> None:
    checked = dict(rows(CHECKED, [child]))
    for name, (add, validate) in plan.key_creation(child).items():
        if name not in checked:
            briefly_locked([add])
        if not checked.get(name):
            with connection.cursor() as cursor:
                cursor.execute(validate)


def _compare(plan: Blueprint, batch: int, pause: float) -> None:
    for _ in range(3):
        *source, copied_count, copied_sum = rows(plan.comparison())[0]
        if source == [copied_count, copied_sum]:
            return
        copy(plan, batch, pause)
    raise CannotSplit(f"{plan.source} and its copy differ: use --undo, and tell us")


def _fits(plan: Blueprint) -> bool:
    """Whether the new partitions and the trigger that writes to them know every column of the partition."""
    if rows(blueprints.COLUMNS, [plan.shadow]) != rows(blueprints.COLUMNS, [plan.source]):
        return False
    mirror = rows(MIRROR, [f"{plan.shadow}_mirror"])[0][0]
    return mirror in plan.mirror()[0] and begun(plan.parent, plan.partition).target == plan.target


def _read_again(plan: Blueprint) -> Blueprint:
    return blueprints.read(plan.parent, plan.partition, plan.target, plan.key_column)


def _check_unchanged(plan: Blueprint) -> None:
    """With the locks held: nothing has been added to the partition that its successors lack."""
    now = _read_again(plan)
    if now.structure != plan.structure:
        raise Changed
    for name, valid, of_constraint in rows(INDEXES_OF_PARENT, [plan.parent]):
        if not valid or not (of_constraint or name in now.indexes):
            # Attaching would build it while nobody could read the table.
            raise CannotSplit(f"index {name} of {plan.parent} is not whole: finish its migration, or drop it")


def _refuse_distributed(table: str) -> None:
    distributed = "SELECT 1 FROM pg_dist_partition WHERE logicalrelid = %s::regclass"
    if exists("pg_dist_partition") and rows(distributed, [table]):
        raise CannotSplit(f"{table} is distributed by Citus: its shards are moved and split there (manage.py shard)")
