"""What is wrong with a plan: told by its structure and by how much it reads, never by its time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.queries.recording import Statement

LARGE = frozenset(
    {
        "documents_document", "documents_text", "documents_chunk", "documents_embedding", "documents_membership",
        "chat_conversation", "chat_message", "chat_messagebody", "chat_citation", "chat_retrievaltrace",
    }
)  # fmt: skip
"""Tables that grow with what people put in."""

SOON = 100
"""A scan that has found what it wants after so few rows (``LIMIT 1``) is none."""


@dataclass(frozen=True)
class Limits:
    """What a statement may do, wherever a request does not say otherwise."""

    rows: int = 400
    """That scans look at, those that a filter throws away included."""
    sorted: int = 101
    """Of one sort: a page of 100, and whether there is another."""
    buffers: int = 1200
    """Pages of 8 KB; a page of 100 rows by four or five look-ups each."""
    entries: bool = True
    """Entries of an index that a bitmap holds count as rows. They are a byte or two each in an index of words."""
    scans: bool = False
    """A large table may be read from end to end: at the scale of a test a partition can be one owner's alone."""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes that ran."""
    if plan["Actual Loops"]:
        yield plan
        for child in plan.get("Plans", ()):
            yield from nodes(child)


def table_of(node: dict[str, Any]) -> str:
    """Without the number of its partition."""
    return re.sub(r"_(p\d\d+(_\d+)?|w\d{8}|before_\d{8}|default)$", "", node.get("Relation Name", ""))


def rows_of(node: dict[str, Any]) -> int:
    """Rows that a node gave, in all its loops."""
    return round(node["Actual Rows"] * node["Actual Loops"])


def rows_read(statement: Statement) -> int:
    """Rows that scans gave and threw away."""
    return sum(_looked_at(node) for node in nodes(statement.plan)) if statement.plan else 0


def _entries(plan: dict[str, Any]) -> int:
    return sum(rows_of(node) for node in nodes(plan) if node["Node Type"] == "Bitmap Index Scan")


def _looked_at(node: dict[str, Any]) -> int:
    if not node["Node Type"].endswith("Scan") or node["Node Type"] in {"CTE Scan", "Subquery Scan"}:
        return 0
    thrown = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return rows_of(node) + round(thrown * node["Actual Loops"])


def faults(statement: Statement, limits: Limits) -> list[str]:
    """A sentence for each fault; none when the plan is good."""
    if statement.plan is None:
        return []
    found = [fault for node in nodes(statement.plan) for fault in _faults_of(node, limits)]
    found += unpruned(statement)
    if (read := rows_read(statement) - (0 if limits.entries else _entries(statement.plan))) > limits.rows:
        found.append(f"reads {read:,} rows ({limits.rows:,} allowed)")
    if statement.buffers > limits.buffers:
        found.append(f"reads {statement.buffers:,} pages ({limits.buffers:,} allowed)")
    return found


def _faults_of(node: dict[str, Any], limits: Limits) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and table_of(node) in LARGE and _looked_at(node) > SOON and not limits.scans:
        yield f"scans {table_of(node)} from end to end"
    if node["Node Type"] in {"Sort", "Incremental Sort"}:
        given = sum(rows_of(child) for child in node["Plans"])
        if given > limits.sorted:
            yield f"sorts {given:,} rows ({limits.sorted:,} allowed)"


def unpruned(statement: Statement) -> list[str]:
    """A sentence for each time that more than one partition of a table was read, here or in a function or trigger."""
    plans = (statement.plan, *statement.inside) if statement.plan else statement.inside
    return sorted({fault for plan in plans for node in nodes(plan) for fault in _several_partitions(node)})


def _several_partitions(node: dict[str, Any]) -> Iterator[str]:
    """Each time that the node runs it may ask one partition, not always the same: those asked by other rows differ."""
    loops: dict[str, dict[str, int]] = {}
    for child in node.get("Plans", ()) if "Append" in node["Node Type"] else ():
        scan = next((one for one in nodes(child) if "Relation Name" in one), None)
        if scan is not None and table_of(scan) != scan["Relation Name"]:
            asked = loops.setdefault(table_of(scan), {})
            asked[scan["Relation Name"]] = max(child["Actual Loops"], asked.get(scan["Relation Name"], 0))
    for table, asked in loops.items():
        if sum(asked.values()) > node["Actual Loops"]:
            yield f"asks {len(asked)} partitions of {table}"


def summary(statement: Statement) -> str:
    """``Limit > Index Scan documents_document by document_uploaded_idx``: the nodes in their order."""
    if statement.plan is None:
        return ""
    return " > ".join(_named(node) for node in nodes(statement.plan))


def _named(node: dict[str, Any]) -> str:
    name = node["Node Type"]
    if "Relation Name" in node:
        name += f" {table_of(node)}"
    return f"{name} by {re.sub(r'_p[0-9][0-9]_.*', '', node['Index Name'])}" if "Index Name" in node else name
