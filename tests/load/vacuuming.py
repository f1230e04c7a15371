"""What autovacuum's thresholds do to the tables that chat writes: seen, not calculated.

    python -m tests.load.server_settings --only vacuum

On a server of its own in a temporary folder, with PostgreSQL's thresholds and with the site's, after the same seeding:
answers are written as chat writes them (a question, a running answer, the conversation moves to the top, the answer is
completed), and every second the server is asked what it knows. autovacuum looks each second (naptime), here and there,
so that minutes tell what would take hours: how much is changed between its visits is what the thresholds say.
"""

import random
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CONVERSATIONS = 20_000
ROUNDS = 120
ANSWERS = 100
"""Of one round, each in a conversation of its own; those changed lately are chosen more often."""
PAUSE = 0.25
SECONDS_BETWEEN = 1.0
DEFAULTS = {
    "autovacuum_vacuum_scale_factor": "0.2",
    "autovacuum_vacuum_insert_scale_factor": "0.2",
    "autovacuum_analyze_scale_factor": "0.1",
}
TABLES = ("chat_conversation", "chat_message")
SERVERS: Mapping[str, Mapping[str, str]] = {"PostgreSQL's thresholds": DEFAULTS, "the site's": {}}
NAPTIME = {"autovacuum_naptime": "1s"}

WRITES = """
WITH chosen AS (
  SELECT owner_id, id FROM chat_conversation WHERE id = ANY (%(chosen)s::uuid[])
), asked AS (
  INSERT INTO chat_message (id, owner_id, conversation_id, role, status, stop_requested, engine, model, error_code,
    error_detail, timings, cached, created_at)
  SELECT gen_random_uuid(), owner_id, id, role, CASE role WHEN 'user' THEN 'complete' ELSE 'running' END, false, '', '',
    '', '', '{}', false, clock_timestamp()
  FROM chosen, unnest(ARRAY['user', 'assistant']) role RETURNING id, owner_id, conversation_id
)
INSERT INTO chat_messagebody (message_id, owner_id, conversation_id, content)
SELECT id, owner_id, conversation_id, 'When was the turbine in Oslo replaced, and by whom?' FROM asked
"""
MOVED = "UPDATE chat_conversation SET updated_at = clock_timestamp() WHERE id = ANY (%(chosen)s::uuid[])"
COMPLETED = """
UPDATE chat_message SET status = 'complete', engine = 'extractive', timings = '{"seconds": 1.5}'
WHERE status = 'running' AND conversation_id = ANY (%(chosen)s::uuid[])
"""
KNOWN = """
SELECT relname, n_dead_tup, autovacuum_count, autoanalyze_count FROM pg_stat_user_tables WHERE relname = ANY (%s)
"""
LIST = "SELECT id, title FROM chat_conversation WHERE owner_id = %s ORDER BY updated_at DESC, id DESC LIMIT 26"
LATELY = "SELECT id FROM chat_conversation WHERE updated_at > %s"


@dataclass
class Seen:
    """Of one server, while it was written to."""

    dead: dict[str, list[int]] = field(default_factory=lambda: {table: [] for table in TABLES})
    before: dict[str, tuple[int, int]] = field(default_factory=dict)
    after: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How often each table had been vacuumed and analyzed."""
    pages: list[int] = field(default_factory=list)
    """Of the list of the one who has most."""
    expected: list[float] = field(default_factory=list)
    """Rows that the planner expects to have changed since it began, for each that has."""


def compare() -> None:
    from tests.load.server_settings import server

    print(f"{CONVERSATIONS:,} conversations, {ROUNDS * ANSWERS:,} answers written; autovacuum looks every second")
    for name, settings in SERVERS.items():
        with server({**NAPTIME, **settings}):
            _fill()
            before = _sizes()
            seen = _written()
            _show(name, seen, before)


def _fill() -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE chat_conversation CASCADE")
    call_command(
        "seed", owners=20, documents=10, chunks=10, conversations=CONVERSATIONS, messages=2 * CONVERSATIONS, verbosity=0
    )


def _written() -> Seen:
    from django.db import connection

    choose, seen = random.Random(1), Seen()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM chat_conversation ORDER BY updated_at DESC, id")
        ids = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT owner_id FROM chat_conversation GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
        owner = cursor.fetchone()[0]
        cursor.execute("SELECT clock_timestamp()")
        began, looked = cursor.fetchone()[0], time.monotonic()
        seen.before = _visits(cursor)
        for _ in range(ROUNDS):
            chosen = {"chosen": [str(one) for one in _some(choose, ids)]}
            for statement in (WRITES, MOVED, COMPLETED):
                cursor.execute(statement, chosen)
            time.sleep(PAUSE)
            if time.monotonic() - looked > SECONDS_BETWEEN:
                looked = time.monotonic()
                _look(cursor, seen, owner, began)
    return seen


def _some(choose: random.Random, ids: list[Any]) -> set[Any]:
    found: set[Any] = set()
    while len(found) < ANSWERS:
        found.add(ids[int(len(ids) * choose.random() ** 2)])
    return found


def _look(cursor: Any, seen: Seen, owner: int, began: Any) -> None:
    from tests.load.server_settings import _plan

    seen.after = _visits(cursor, seen)
    plan = _plan(cursor, LIST, owner, analyze="ANALYZE, BUFFERS, TIMING OFF, ")
    seen.pages.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    lately = _plan(cursor, LATELY, began, analyze="ANALYZE, TIMING OFF, ")
    seen.expected.append(lately["Plan Rows"] / max(1, lately["Actual Rows"]))


def _visits(cursor: Any, seen: Seen | None = None) -> dict[str, tuple[int, int]]:
    """Notes the dead rows on the way."""
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute(KNOWN, [list(TABLES)])
    found = cursor.fetchall()
    for table, dead, *_ in found if seen else ():
        seen.dead[table].append(dead)  # type: ignore[union-attr]
    return {table: (vacuums, analyzes) for table, _, vacuums, analyzes in found}


def _sizes() -> dict[str, int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT name, pg_total_relation_size(name::regclass) FROM unnest(%s) name", [list(TABLES)])
        return dict(cursor.fetchall())


def _show(name: str, seen: Seen, before: Mapping[str, int]) -> None:
    after = _sizes()
    print(f"\n{name}")
    for table, dead in seen.dead.items():
        vacuums, analyzes = (now - then for then, now in zip(seen.before[table], seen.after[table], strict=True))
        print(
            f"  {table}: vacuumed {vacuums} times, analyzed {analyzes} times; dead rows {statistics.median(dead):,.0f} "
            f"(median), {max(dead):,} (most); {before[table] / 1e6:.1f} MB before, {after[table] / 1e6:.1f} MB after"
        )
    print("\n".join(_told(seen)), flush=True)


def _told(seen: Seen) -> Iterator[str]:
    yield f"  a list of conversations: {statistics.median(seen.pages):.0f} pages (median), {max(seen.pages)} (most)"
    factors = sorted(max(one, 1 / max(one, 1e-9)) for one in seen.expected)
    yield (
        f"  rows changed since it began: expected wrongly by a factor of {statistics.median(factors):.1f} (median), "
        f"{factors[int(0.9 * (len(factors) - 1))]:.1f} (nine of ten below)"
    )
