"""What some settings of the server change, in counts: plans, checkpoints, rows. Times would tell the machine's load.

    python -m tests.load.server_settings --folder FOLDER [--owner seed-00001] [--loads 40]
    python -m tests.load.server_settings --only vacuum     # autovacuum, on a server of its own: tests/load/vacuuming.py

FOLDER is a seeded site that nobody runs, as tests.load.queries leaves it. What is written here is rolled back (its WAL
and dead rows are not). effective_cache_size: each reading request under several values. The factor of autoanalyze:
what is read of an account that has come since statistics were taken, with those and with new ones.
max_wal_size: checkpoints, pages written whole and bytes of WAL while the same chunks are loaded, started anew for each.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from ragsite.embedded import postgres
from ragsite.embedded.services import services_for
from tests.load import vacuuming

CACHE_SIZES = ("128MB", "4GB", "12GB", "48GB")
WAL_SIZES = ("256MB", "1GB", "2GB")
ADDED = 60_000
"""Conversations of a new account: of a million more than 2 %, and less than 10 %."""
LOADED = 5000
A_JOIN = """
SELECT count(*) FROM documents_chunk c JOIN documents_document d ON d.owner_id = c.owner_id AND d.id = c.document_id
WHERE d.status = 'failed'
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.server_settings")
    parser.add_argument("--folder", type=Path, help="needed for all but vacuum, which has one of its own")
    parser.add_argument("--owner", default="seed-00001")
    parser.add_argument("--loads", type=int, default=40, help=f"of {LOADED:,} chunks, for each max_wal_size")
    parser.add_argument("--only", choices=["cache", "analyze", "wal", "vacuum"])
    given = parser.parse_args()
    if given.only == "vacuum":
        with TemporaryDirectory(prefix="ragsite-vacuum-") as folder:
            _prepare(Path(folder))
            vacuuming.compare()
        return
    if given.folder is None:
        parser.error("--folder is needed")
    _prepare(given.folder)
    if given.only in {None, "cache"}:
        with server({}):
            _compare_cache_sizes(given.owner)
    if given.only in {None, "analyze"}:
        with server({}):
            _compare_estimates()
    for size in WAL_SIZES if given.only in {None, "wal"} else ():
        with server({"max_wal_size": size}):
            print(f"max_wal_size={size}: {_loaded(given.loads)}", flush=True)


def _prepare(folder: Path) -> None:
    os.environ |= {
        "RAGSITE_DATA_DIR": str(folder), "RAGSITE_DOTENV": os.devnull, "RAGSITE_THROTTLE": "off",
        "RAGSITE_CACHES_OFF": "all", "RAGSITE_DEBUG": "true", "DJANGO_SETTINGS_MODULE": "ragsite.settings",
    }  # fmt: skip


@contextmanager
def server(changed: Mapping[str, str]) -> Iterator[None]:
    """The site's servers with some settings of their own."""
    usual = postgres.machine_settings

    def settings_of(folder: Path) -> dict[str, str]:
        return usual(folder) | dict(changed)

    with mock.patch.object(postgres, "machine_settings", settings_of), services_for("migrate"):
        import django

        django.setup()
        from django.conf import settings
        from django.db import connections

        settings.ALLOWED_HOSTS = ["*"]
        yield
        connections.close_all()


def _compare_cache_sizes(username: str) -> None:
    """Which statements get another plan than with the largest size."""
    from ragsite.accounts.models import User
    from tests.queries.requests import EVERY
    from tests.queries.world import Caller

    caller = Caller(User.objects.get(username=username))
    calls = [call for call in EVERY if call.method == "get" and call.expect == 200]
    found = {size: [told for call in calls for told in _plans(caller, call, size)] for size in CACHE_SIZES}
    for size, told in found.items():
        others = [pair for pair in zip(told, found[CACHE_SIZES[-1]], strict=True) if pair[0][:2] != pair[1][:2]]
        pages = sum(statement[-1] for statement in told)
        print(f"effective_cache_size={size}: {len(told)} statements, {len(others)} with another plan; {pages:,} pages")
        for one, other in others:
            print(f"  {one}\n  {other}")
    for size in CACHE_SIZES:
        print(f"  all chunks of failed documents, {size}: {_explained(A_JOIN, size)}")


def _plans(caller: Any, call: Any, size: str) -> list[tuple[str, str, int]]:
    from django.db import connection

    from tests.queries.plans import summary
    from tests.queries.recording import recorded

    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SET effective_cache_size = %s", [size])
    caller.send(call)  # pages of the catalog that planning reads are read then
    with recorded(plans=True) as statements:
        caller.send(call)
    return [(str(call), summary(one), one.buffers) for one in statements if one.plan]


def _explained(sql: str, size: str) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET effective_cache_size = %s", [size])
        plan = _plan(cursor, sql)
    return f"cost {plan['Total Cost']:,.0f}: {' > '.join(_kinds(plan))}"


def _plan(cursor: Any, sql: str, *params: Any, analyze: str = "") -> dict[str, Any]:
    cursor.execute(f"EXPLAIN ({analyze}FORMAT JSON) {sql}", params)
    found = cursor.fetchone()[0]
    return dict((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])


def _kinds(node: dict[str, Any]) -> Iterator[str]:
    """Its nodes; of many partitions the first two."""
    yield f"{node['Node Type']} {node.get('Relation Name', '')}".strip()
    for child in node.get("Plans", ())[:2]:
        yield from _kinds(child)


NEW = """
INSERT INTO chat_conversation (id, owner_id, title, pinned, archived_at, scope_documents, scope_collections,
  language_model, style, created_at, updated_at)
SELECT gen_random_uuid(), %s, title, n %% 50 = 0, archived_at, NULL, scope_collections, language_model, style,
  created_at, updated_at
FROM (SELECT *, row_number() OVER () AS n FROM chat_conversation LIMIT %s) c
"""


def _compare_estimates() -> None:
    """An account that has come since the statistics were taken, asked with those and with new ones."""
    from django.db import connection, transaction

    from ragsite.accounts.models import User

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_conversation")
        newcomer = User.objects.create_user("newcomer-of-settings")
        cursor.execute(NEW, [newcomer.pk, ADDED])
        before = _told(cursor, newcomer.pk)
        cursor.execute("ANALYZE chat_conversation")
        print(f"{ADDED:,} conversations of a new account (table: real, expected, pages)")
        for label, old, new in zip(LISTS, before, _told(cursor, newcomer.pk), strict=True):
            print(f"  {label}: statistics of before {old}; renewed {new}")
        transaction.set_rollback(True)


LISTS = {
    "its conversations": "SELECT id FROM chat_conversation WHERE owner_id = %s",
    "its list": "SELECT * FROM chat_conversation WHERE owner_id = %s AND archived_at IS NULL "
    "ORDER BY updated_at DESC, id DESC LIMIT 26",
    "all titles with their messages": "SELECT count(m.id) FROM chat_conversation c LEFT JOIN chat_message m "
    "ON m.owner_id = c.owner_id AND m.conversation_id = c.id WHERE c.owner_id = %s",
}


def _told(cursor: Any, owner: int) -> list[str]:
    told = []
    for sql in LISTS.values():
        leaf = plan = _plan(cursor, sql, owner, analyze="ANALYZE, BUFFERS, TIMING OFF, ")
        while leaf.get("Plans"):
            leaf = leaf["Plans"][0]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        rows = f"{leaf['Actual Rows']:,.0f} real, {leaf['Plan Rows']:,} expected"
        told.append(f"{rows}, {pages:,} pages, {' > '.join(_kinds(plan))}")
    return told


COUNTERS = """
SELECT c.num_timed, c.num_requested, w.wal_fpi, w.wal_bytes FROM pg_stat_checkpointer c, pg_stat_wal w
"""


def _loaded(loads: int) -> str:
    """What loading chunks of many accounts costs the log; each load is rolled back, which changes nothing in that."""
    from django.db import connection, transaction

    from chat.seeding import texts
    from chat.seeding.libraries import CHUNK_COLUMNS, Writer
    from chat.seeding.plan import times
    from ragsite.accounts.models import User
    from ragsite.copying import copy_rows

    owners = list(User.objects.filter(username__startswith="seed-").order_by("id").values_list("pk", flat=True))
    before = _counted(connection)
    for number in range(loads):
        writer = Writer(texts.sentences(), {}, None)
        writer.add(owners[number % len(owners)], times(1)[0], LOADED)
        rows, writer.chunks = writer.chunks, []
        with transaction.atomic():
            writer.flush()
            copy_rows("documents_chunk", CHUNK_COLUMNS, rows)
            transaction.set_rollback(True)
    timed, full, whole, size = (new - old for new, old in zip(_counted(connection), before, strict=True))
    return (
        f"{full} checkpoints as the log was full, {timed} by time, {whole:,} pages whole, {size / 1e6:,.0f} MB of WAL"
    )


def _counted(connection: Any) -> tuple[int, ...]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(COUNTERS)
        return tuple(map(int, cursor.fetchone()))


if __name__ == "__main__":
    main()
