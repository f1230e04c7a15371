"""Lists never touch wide text: it stands in tables of its own, and what is long in these lies in TOAST."""

import re

import pytest
from django.db import connection
from django.test import override_settings
from rest_framework.test import APIClient

from documents.models import DocumentText
from ragsite.accounts.models import ApiToken
from ragsite.partitioning.catalog import rows
from tests.queries.recording import recorded

pytestmark = pytest.mark.xdist_group("partitions")
WIDE = re.compile(r"documents_text|chat_messagebody|chat_retrievaltrace|documents_chunk|documents_embedding")
TOAST = (
    "SELECT sum(toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit)::bigint FROM pg_statio_user_tables"
)
LISTS = (
    "/api/v1/documents?page_size=100", "/api/v1/documents?ordering=-size", "/api/v1/conversations?page_size=100",
    "/api/v1/collections", "/api/v1/queue",
)  # fmt: skip


def toast_pages() -> int:
    """Read so far, by this connection and others."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
    return rows(TOAST)[0][0]


@override_settings(CACHES_OFF={"all"})
def test_no_list_reads_a_text_or_a_page_of_toast(fill, people):
    fill(3, 100)
    caller = APIClient()
    caller.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(owner=people[0], name='lists')[1]}")
    before = toast_pages()
    for path in LISTS:
        with recorded() as statements:
            response = caller.get(path)
        assert response.status_code == 200
        assert [statement.sql for statement in statements if WIDE.search(statement.sql)] == []
    assert toast_pages() == before
    assert len(DocumentText.objects.filter(owner=people[0])[0].text) > 2000
    assert toast_pages() > before  # the counter counts
