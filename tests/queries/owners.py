"""Whether a statement can be answered by its owner's shard alone: told by the plan that PostgreSQL makes of it.

Where a table is distributed by owner (docs/sharding.md), each scan of it must name the one owner whose rows it reads:
the planner carries ``a.owner_id = 5 AND a.owner_id = b.owner_id`` over to both tables, and what it cannot carry over,
Citus cannot either.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from documents.queue import kinds, outlook
from ragsite.sharding import catalog
from ragsite.sharding.tables import distributed_tables
from tests.queries.plans import table_of
from tests.queries.recording import Statement

OF_ALL = frozenset({outlook.LINES, kinds.WAITING})
"""Of everybody's documents: on distributed tables each owner's shard is asked instead (documents/queue/shards.py)."""
CLOCK = '"stop_requested"'
"""What a web process looks for twice a second, of all answers that it writes."""
CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "One-Time Filter")
ONE_OWNER = re.compile(r"\bowner_id = '?\d+")
SETS_OWNER = re.compile(
    r'^\s*UPDATE\s+"?(\w+)"?\s+(?:AS\s+\w+\s+)?SET\b(?:(?!\bWHERE\b).)*"?\bowner_id\b"? = ', re.DOTALL
)


def owner_faults(statement: Statement) -> list[str]:
    """A sentence for each table that it reads or writes without its owner."""
    if statement.sql in OF_ALL or (CLOCK in statement.sql and '"is_active"' in statement.sql):
        return []
    owned = frozenset(distributed_tables())
    found = list(_faults(statement.plan, owned)) if statement.plan else []
    changed = SETS_OWNER.match(statement.sql)
    if changed and changed[1] in owned:
        found.append(f"sets the owner of {changed[1]}, by which it is distributed")
    return found


def _faults(node: dict[str, Any], owned: frozenset[str]) -> Iterator[str]:
    table = table_of(node)
    if table in owned and node["Node Type"] == "ModifyTable":
        for index in set(node.get("Conflict Arbiter Indexes", ())) & _without_owner():
            yield f"relies on {index} of {table}, which has no owner"
    elif table in owned and not _names_owner(node):
        yield f"reads {table} without its owner"
    for child in node.get("Plans", ()):
        if node["Node Type"] != "Bitmap Heap Scan" or child["Parent Relationship"] != "Outer":  # judged with its parent
            yield from _faults(child, owned)


def _names_owner(node: dict[str, Any]) -> bool:
    return any(ONE_OWNER.search(str(node.get(name, ""))) for name in CONDITIONS)


@cache
def _without_owner() -> frozenset[str]:
    indexes = catalog.unique_indexes(distributed_tables())
    return frozenset(index.name for index in indexes if "owner_id" not in index.columns)
