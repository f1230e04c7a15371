"""How the partitioned tables fare: sizes, skew, ages, and what has to be done."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ragsite.partitioning import splitting
from ragsite.partitioning.catalog import Partition, Table, owners_of, partitions, tables
from ragsite.partitioning.timed import Timed, timed_tables

GIB = 1024**3
LARGE_BYTES = 16 * GIB
"""Of one partition with its indexes: vacuuming it, or building an index over it, takes hours, not minutes."""
LARGE_ROWS = 10_000_000
WORTH_ROWS = 100_000
"""Below, skew is a matter of chance and costs nothing."""
SKEWED = 3.0
"""The largest partition beside their mean."""
DOMINATES = 0.5
"""An owner's share of a partition's rows."""


@dataclass(frozen=True)
class Todo:
    """What needs doing, for people, and the command that does it."""

    code: str
    table: str
    sentence: str
    command: str = ""


@dataclass(frozen=True)
class Fare:
    """One table."""

    table: Table
    partitions: list[Partition]
    owners: dict[str, list[tuple[int, float]]]
    timed: Timed | None = None

    @property
    def skew(self) -> float:
        """How many times the mean the largest partition has."""
        rows = [partition.rows for partition in self.partitions]
        return max(rows) * len(rows) / sum(rows) if sum(rows) else 1.0

    def dominating(self) -> Iterator[tuple[Partition, int, float]]:
        """Partitions of size of which one owner has most, with the owner and the share."""
        for partition in self.partitions:
            owner, share = max(self.owners.get(partition.name, ()), key=lambda one: one[1], default=(0, 0.0))
            if share >= DOMINATES and partition.rows >= WORTH_ROWS:
                yield partition, owner, share

    def todo(self) -> Iterator[Todo]:
        yield from self._of_time(self.timed) if self.timed else self._of_hash()

    def _of_hash(self) -> Iterator[Todo]:
        name, large = self.table.name, [one for one in self.partitions if _is_large(one)]
        alone = {partition.name: (owner, share) for partition, owner, share in self.dominating()}
        modulus = max(one.modulus for one in self.partitions)
        command = f"manage.py partitions --repartition {modulus * 4} --table {name}"
        if crowded := [one for one in large if one.name not in alone]:
            yield Todo("large", name, f"{_named(crowded)} of {name} grew large: split them", command)
        for partition in [one for one in large if one.name in alone]:
            owner, share = alone[partition.name]
            told = f"{share:.0%} of {partition.name} are user {owner}'s, which no split parts"
            yield Todo("owner", name, f"{told}: give this one a server (docs/partitions.md)")

    def _of_time(self, timed: Timed) -> Iterator[Todo]:
        for code, sentence in timed.wanting(self.partitions):
            yield Todo(code, self.table.name, sentence, "manage.py partitions --upkeep")

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table.name,
            "by": "hash" if self.table.strategy == "h" else "range",
            "key": list(self.table.key),
            "rows": sum(one.rows for one in self.partitions),
            "skew": round(self.skew, 2) if not self.timed else None,
            "partitions": [self._partition_json(one) for one in self.partitions],
        }

    def _partition_json(self, one: Partition) -> dict[str, Any]:
        told = {"name": one.name, "bound": one.bound, "rows": one.rows, "heap_bytes": one.heap}
        told |= {"index_bytes": one.indexes, "toast_bytes": one.toast, "total_bytes": one.total}
        owners = self.owners.get(one.name, [])
        told["owners"] = [{"owner": owner, "share": round(share, 3)} for owner, share in owners[:3]]
        return told | (self.timed.as_json(one) if self.timed else {})

    def lines(self) -> Iterator[str]:
        by = "hash" if self.table.strategy == "h" else "range"
        skew = "" if self.timed else f", the largest {self.skew:.1f} times the mean"
        yield f"{self.table.name}: {len(self.partitions)} partitions by {by} of {', '.join(self.table.key)}{skew}"
        yield f"  {'partition':<40} {'rows':>12} {'heap':>9} {'indexes':>9} {'TOAST':>9}"
        for one in self.partitions:
            sizes = " ".join(f"{told(size):>9}" for size in (one.heap, one.indexes, one.toast))
            yield f"  {one.name:<40} {one.rows:>12,} {sizes}  {self._remark(one)}".rstrip()

    def _remark(self, one: Partition) -> str:
        if self.timed:
            return self.timed.remark(one)
        found = [(owner, share) for owner, share in self.owners.get(one.name, ()) if share >= DOMINATES]
        return "".join(f"{share:.0%} user {owner}'s" for owner, share in found[:1])


@dataclass(frozen=True)
class Report:
    fares: list[Fare]
    todo: list[Todo] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"tables": [fare.as_json() for fare in self.fares], "todo": [vars(todo) for todo in self.todo]}

    def lines(self) -> Iterator[str]:
        for fare in self.fares:
            yield from (*fare.lines(), "")
        yield from (f"→ {todo.sentence}{f': {todo.command}' if todo.command else ''}" for todo in self.todo)
        if not self.todo:
            yield "Nothing needs doing."


def examined() -> Report:
    """The report of this moment; statistics and catalogues alone are read, no rows."""
    timed = {one.table: one for one in timed_tables()}
    fares = [_fare(table, timed.get(table.name)) for table in tables()]
    todo = [todo for fare in fares for todo in fare.todo()]
    todo += [
        Todo("unfinished", table, f"the split of {one.name} was not finished", _resume(table, one))
        for table, one in splitting.unfinished()
    ]
    return Report(fares, todo)


def _resume(table: str, partition: Partition) -> str:
    target = splitting.begun(table, partition).target
    return f"manage.py partitions --repartition {target} --table {table}, or --undo"


def _fare(table: Table, timed: Timed | None) -> Fare:
    found = partitions(table.name)
    return Fare(table, found, owners_of([one.name for one in found]), timed)


def _is_large(partition: Partition) -> bool:
    return partition.total > LARGE_BYTES or partition.rows > LARGE_ROWS


def _named(found: list[Partition]) -> str:
    names = [one.name for one in found]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def told(size: int) -> str:
    """Bytes as people read them."""
    for unit, factor in (("GB", GIB), ("MB", 1024**2)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size // 1024} kB"
