"""silk: off unless switched on, for staff alone, without what people wrote; and what `slow_queries` makes of it."""

from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ragsite.profiling.report import Record, grouped, parsed_plan, plan_lines, shape_of
from tests.instance import Instance
from tests.quality.tables import made_folder

SCAN = {
    "Node Type": "Seq Scan", "Relation Name": "documents_document", "Plan Rows": 3, "Total Cost": 4000.0,
    "Filter": "((title)::text = ?::text)",
}  # fmt: skip
SORT = {
    "Node Type": "Sort", "Plan Rows": 9000, "Total Cost": 900.0, "Sort Key": ["created_at"],
    "Plans": [{"Node Type": "Index Scan", "Index Name": "some_idx", "Plan Rows": 9000, "Total Cost": 800.0}],
}  # fmt: skip
LEAKS = """
from django.db.models import Q
from silk.models import Request, Response, SQLQuery
said = Q(body__contains="confidential") | Q(raw_body__contains="confidential") | Q(encoded_headers__contains="{token}")
written = Q(query__contains="confidential") | Q(analysis__contains="confidential")
bodies = Response.objects.exclude(body="")
print(Request.objects.filter(said).count() + SQLQuery.objects.filter(written).count() + bodies.count())
"""


def record(view="a view", request="1", sql="SELECT 1", milliseconds=1.0, plan=None):
    return Record(view, request, sql, milliseconds, "", plan)


def test_silk_is_off_unless_it_is_switched_on():
    assert "silk" not in settings.INSTALLED_APPS
    assert not any("silk" in name for name in settings.MIDDLEWARE)
    with pytest.raises(CommandError, match="RAGSITE_SILK=on"):
        call_command("slow_queries")


def test_statements_are_grouped_by_view_the_most_expensive_first():
    groups = grouped([record("cheap"), record("dear", milliseconds=9), record("cheap"), record("dear", milliseconds=1)])
    assert [(group.view, group.total) for group in groups] == [("dear", 10), ("cheap", 2)]


def test_a_list_of_any_length_is_one_statement():
    assert shape_of("SELECT 1\n WHERE id IN (%s, %s, %s)") == shape_of("SELECT 1 WHERE id IN (%s, %s)")


def test_a_statement_for_each_row_is_told():
    hints = list(grouped([record(request="1") for _ in range(6)])[0].hints())
    assert hints == ["N+1? It ran 6 times in one request: fetch the rows of the list at once."]


def test_the_same_statement_in_many_requests_is_no_fault():
    assert list(grouped([record(request=str(number)) for number in range(6)])[0].hints()) == []


def test_a_table_read_from_end_to_end_is_told_with_its_columns():
    hints = list(grouped([record(plan=SCAN)])[0].hints())
    assert hints == ["Index? documents_document is read from end to end for title."]


def test_a_small_table_may_be_read_from_end_to_end():
    assert list(grouped([record(plan=SCAN | {"Total Cost": 4.0})])[0].hints()) == []


def test_a_sort_of_many_rows_is_told():
    assert list(grouped([record(plan=SORT)])[0].hints()) == ["Index? 9,000 rows are sorted by created_at."]


def test_the_plan_shown_is_that_of_the_slowest_run():
    group = grouped([record(milliseconds=5, plan=SCAN), record(milliseconds=9, plan=SORT), record(plan=SCAN)])[0]
    assert list(plan_lines(group.plan)) == [
        "Sort (9,000 rows expected)",
        "  Index Scan by some_idx (9,000 rows expected)",
    ]


def test_what_is_no_plan_is_left_out():
    assert parsed_plan(None) is None
    assert parsed_plan("Seq Scan on x") is None


@pytest.mark.slow
def test_requests_tasks_and_raw_sql_are_recorded_without_what_people_wrote(tmp_path: Path):
    site = Instance(made_folder(tmp_path), RAGSITE_SILK="on", RAGSITE_SILK_PERCENT="100")
    try:
        site.wait_until_ready()
        token = site.manage("create_token", "someone", "--create", "--name", "silk").stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=60) as client:
            uploaded = client.post("/api/v1/documents", files={"file": ("a.txt", b"A confidentialword is here.")})
            assert uploaded.status_code == 201
            found = client.post("/api/v1/search", json={"query": "confidentialword"})
            assert found.status_code == 200
            assert client.get("/silk/").status_code in {302, 403}
        told = site.manage("slow_queries", "--top", "1000", "--by", "mean").stdout
        assert "api-search" in told
        assert "documents_chunk" in told  # raw SQL
        assert "processing.tasks." in told
        assert "confidentialword" not in told
        assert site.manage("shell", "--verbosity=0", "-c", LEAKS.format(token=token)).stdout.strip() == "0"
    finally:
        site.end()
