"""What silk's records say: which statements take most, of which views, and what seems to be wrong with them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

REPEATED = 5
"""As often in one request, a statement is probably run for each row of a list."""
MANY_ROWS = 5000
"""From here on sorting is worth an index."""
WORTH_AN_INDEX = 500
"""The cost of reading a table, in the planner's unit: about as many pages."""
COLUMN = re.compile(r"(?<![:\w])\"?([a-z_]+)\"?\)?(?:::[a-z ]+)? (?:=|<>|<=?|>=?|~~|@@|IS|<@|@>|&&)")


@dataclass(frozen=True)
class Record:
    """A statement as it ran once."""

    view: str
    request: str
    sql: str
    milliseconds: float
    place: str
    plan: dict[str, Any] | None


@dataclass
class Group:
    """All that a view ran of one statement."""

    view: str
    sql: str
    times: list[float] = field(default_factory=list)
    by_request: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    place: str = ""
    plan: dict[str, Any] | None = None

    @property
    def total(self) -> float:
        return sum(self.times)

    @property
    def repeated(self) -> int:
        """Most runs in one request."""
        return max(self.by_request.values())

    def add(self, record: Record) -> None:
        if record.plan and record.milliseconds >= max(self.times, default=0):
            self.plan = record.plan
        self.times.append(record.milliseconds)
        self.by_request[record.request] += 1
        self.place = record.place

    def hints(self) -> Iterator[str]:
        """What seems to be wrong, in sentences."""
        if self.repeated >= REPEATED:
            yield f"N+1? It ran {self.repeated} times in one request: fetch the rows of the list at once."
        for node in _nodes(self.plan) if self.plan else ():
            yield from _hints_of(node)


def grouped(records: Iterable[Record]) -> list[Group]:
    """By view and statement, the most expensive in all first."""
    groups: dict[tuple[str, str], Group] = {}
    for record in records:
        shape = shape_of(record.sql)
        groups.setdefault((record.view, shape), Group(record.view, shape)).add(record)
    return sorted(groups.values(), key=lambda group: -group.total)


def shape_of(sql: str) -> str:
    """Alike for any number of values in a list."""
    return re.sub(r"%s(?:, %s)+", "%s, …", re.sub(r"\s+", " ", sql).strip())


def plan_lines(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """A plan in lines, as EXPLAIN prints it, shorter."""
    where = " on " + node["Relation Name"] if "Relation Name" in node else ""
    by = " by " + node["Index Name"] if "Index Name" in node else ""
    yield f"{'  ' * depth}{node['Node Type']}{where}{by} ({node['Plan Rows']:,} rows expected)"
    for child in node.get("Plans", ()):
        yield from plan_lines(child, depth + 1)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _hints_of(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and "Filter" in node and node["Total Cost"] >= WORTH_AN_INDEX:
        columns = ", ".join(dict.fromkeys(COLUMN.findall(node["Filter"]))) or "its conditions"
        yield f"Index? {node['Relation Name']} is read from end to end for {columns}."
    if node["Node Type"] == "Sort" and node["Plans"][0]["Plan Rows"] >= MANY_ROWS:
        yield f"Index? {node['Plans'][0]['Plan Rows']:,} rows are sorted by {', '.join(node['Sort Key'])}."


def parsed_plan(text: str | None) -> dict[str, Any] | None:
    """A plan as it was recorded; None where there is none."""
    if not text or not text.startswith("{"):
        return None
    plan: dict[str, Any] = json.loads(text)
    return plan
