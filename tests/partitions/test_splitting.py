"""More hash partitions while others write: nothing lost, nothing double, everything as it was."""

import io
import re

import pytest
from django.core.management import call_command

from ragsite.partitioning import blueprint
from ragsite.partitioning.catalog import partitions, rows
from tests.partitions.conftest import content

pytestmark = pytest.mark.xdist_group("partitions")
TABLES = ("documents_chunk", "documents_embedding")


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("partitions", *arguments, stdout=output)
    return output.getvalue()


def structure(table: str) -> set[str]:
    """Columns, indexes, constraints and options of every partition, without names."""
    found = set()
    for one in partitions(table):
        plan = blueprint.read(table, one, 1024, "owner_id")
        found.add(
            str(
                (
                    plan.columns,
                    plan.all_columns,
                    plan.unique,
                    sorted(plan.foreign.values()),
                    plan.options,
                    sorted(re.sub(r"ON \S+", "", text.partition(" USING ")[2]) for text in plan.indexes.values()),
                )
            )
        )
    return found


def test_four_times_as_many_partitions_hold_the_same_in_the_same_way(fill):
    fill(200, 3)
    before = {table: (content(table), structure(table)) for table in TABLES}
    assert all(len(kinds) == 1 for _, kinds in before.values())
    told = run("--repartition", "32", "--batch", "7")
    for table in TABLES:
        assert (content(table), structure(table)) == before[table]
        assert sorted(one.remainder for one in partitions(table)) == list(range(32))
    assert told.count("is documents_chunk_p") == told.count("is documents_embedding_p") == 16
    assert run("--repartition", "32") == "Every hash-partitioned table has 32 partitions or more.\n"
    assert rows("SELECT relname FROM pg_class WHERE relname LIKE %s", ["%split%"]) == []
    assert rows("SELECT proname FROM pg_proc WHERE proname LIKE %s", ["%mirror%"]) == []
