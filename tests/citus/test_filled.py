"""A site that people have used is distributed: nothing of theirs is left where no deletion reaches it."""

import os
import subprocess
import sys

import pytest

from ragsite.layout import PROJECT_DIR
from ragsite.sharding.tables import OWNERS, REFERENCE, distributed_tables
from tests.citus import databases

pytestmark = pytest.mark.slow

NAME = "ragsite_filled_test"
SEED = ("seed", "--owners=3", "--documents=12", "--chunks=40", "--conversations=6", "--messages=18")
HEAPS = """
SELECT name, pg_relation_size(name::regclass)
  + coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(name::regclass)), 0)
FROM unnest(%s) AS name
"""


def test_nothing_of_a_filled_site_is_left_on_the_coordinator(tmp_path):
    url = databases.create(os.environ["CITUS_TEST_URL"], NAME)
    own = {"DATABASE_URL": url, "RAGSITE_DATA_DIR": str(tmp_path), "RAGSITE_DOTENV": os.devnull}
    environment = {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "ragsite.settings"}

    def manage(*arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=PROJECT_DIR, env=environment, check=True, capture_output=True, text=True
        ).stdout

    try:
        manage("migrate", "--verbosity=0")
        manage(*SEED)
        with databases.connected(url) as coordinator, coordinator.cursor() as cursor:
            tables = [*distributed_tables(), *REFERENCE]
            before = _sizes(cursor, tables)
            cursor.execute("SELECT count(*) FROM documents_chunk")
            chunks = cursor.fetchone()
            assert before["documents_chunk"] > 0
            assert "All tables are where they belong" in manage("shard")
            assert set(_sizes(cursor, [*tables, OWNERS]).values()) == {0}
            cursor.execute("SELECT count(*) FROM documents_chunk")
            assert cursor.fetchone() == chunks
        assert "Nothing to do" in manage("shard")
    finally:
        databases.drop(os.environ["CITUS_TEST_URL"], NAME)


def _sizes(cursor, tables: list[str]) -> dict[str, int]:
    cursor.execute(HEAPS, [tables])
    return dict(cursor.fetchall())
