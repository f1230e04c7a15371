"""`manage.py partitions`: what it prints, what it asks for, and its exit status."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from ragsite.accounts.models import User
from ragsite.partitioning import report, timed
from ragsite.partitioning.catalog import partitions, rows

pytestmark = pytest.mark.xdist_group("partitions")


@pytest.fixture(scope="module", autouse=True)
def library(fill: Any, people: list[User]) -> None:
    """Even but for one partition, which is one owner's."""
    fill(80, 3)
    timed.upkeep()
    alone = people[0].pk
    with connection.cursor() as cursor:
        name = rows("SELECT tableoid::regclass::text FROM documents_chunk WHERE owner_id = %s LIMIT 1", [alone])[0][0]
        cursor.execute(f"DELETE FROM {name} WHERE owner_id <> %s", [alone])
        cursor.execute("ANALYZE")


def told(*arguments: str) -> tuple[str, int]:
    """The output and the exit status."""
    output, status = io.StringIO(), 0
    try:
        call_command("partitions", *arguments, stdout=output)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return output.getvalue(), status


def test_all_is_well():
    text, status = told()
    assert status == 0
    assert text.endswith("Nothing needs doing.\n")
    assert "documents_chunk: 16 partitions by hash of owner_id, the largest" in text
    assert "100% user" in text
    assert "coming" in text
    assert "whatever fits no other" in text


def test_programs_read_sizes_owners_and_ages(people):
    found = json.loads(told("--json")[0])
    tables = {table["table"]: table for table in found["tables"]}
    chunks = tables["documents_chunk"]
    assert (chunks["by"], chunks["key"], len(chunks["partitions"])) == ("hash", ["owner_id"], 16)
    assert chunks["rows"] == rows("SELECT count(*) FROM documents_chunk")[0][0]
    assert chunks["skew"] > 1
    for part in chunks["partitions"]:
        assert part["total_bytes"] == part["heap_bytes"] + part["index_bytes"] + part["toast_bytes"]
        assert part["total_bytes"] > 0
    assert any(part["owners"] == [{"owner": people[0].pk, "share": 1.0}] for part in chunks["partitions"])
    weeks = [part for part in tables["chat_retrievaltrace"]["partitions"] if part["to"]]
    assert all(part["age_days"] < 0 for part in weeks)
    assert found["todo"] == []


def test_large_partitions_are_to_be_split_unless_they_are_one_owners(monkeypatch):
    monkeypatch.setattr(report, "LARGE_ROWS", 3)
    monkeypatch.setattr(report, "WORTH_ROWS", 1)
    text, status = told()
    assert status == 1
    assert "grew large: split them: manage.py partitions --repartition 64 --table documents_chunk" in text
    assert "which no split parts" in text


def test_a_range_without_a_default_or_a_coming_week_is_told(monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE chat_retrievaltrace_default")
    for part in partitions("chat_retrievaltrace"):
        if "_w" in part.name:
            rows(f"DROP TABLE {part.name}; SELECT 1")
    text, status = told()
    assert status == 1
    assert "chat_retrievaltrace has no default partition: an insert may fail" in text
    assert "chat_retrievaltrace has no partition for the week from" in text
    assert "made chat_retrievaltrace_w" in told("--upkeep")[0]
