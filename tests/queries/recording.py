"""The statements that a block runs, on whichever connection, each with the plan by which it ran."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import psycopg2
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ragsite.rows import TOGETHER

EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "
EXPLAINED = re.compile(r"[\s(]*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
PARTITION = re.compile(r'"Relation Name": "\w+_(p\d\d+(_\d+)?|w\d{8}|before_\d{8}|default)"')
# Statements in functions and triggers are seen by nobody but the server itself: it tells them as notices, to those that
# tests/queries/conftest.py has allowed to ask for them.
CAN_TELL = """
SELECT current_setting('auto_explain.log_level', true) IS NOT NULL
  AND has_parameter_privilege('auto_explain.log_min_duration', 'SET')
"""
TELL = "; ".join(
    f"SET LOCAL auto_explain.{name} = {value}"
    for name, value in {
        "log_min_duration": 0, "log_analyze": "on", "log_timing": "off", "log_nested_statements": "on",
        "log_format": "json", "log_level": "notice",
    }.items()
)  # fmt: skip
_tells: "WeakKeyDictionary[Any, bool]" = WeakKeyDictionary()
CONTROL = re.compile(r"\s*(SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|SET)\b", re.IGNORECASE)
_lock = threading.Lock()


@dataclass(frozen=True)
class Statement:
    """``sql`` with its placeholders; ``plan`` as EXPLAIN gives it, with what planning read."""

    sql: str
    plan: dict[str, Any] | None
    buffers: int
    """Pages of tables and indexes that were read or found in memory."""
    inside: tuple[dict[str, Any], ...] = ()
    """Plans of what its functions and triggers ran on partitioned tables: the index's search, cascades of deletions."""

    @property
    def shape(self) -> str:
        """Alike for any number of values in a list."""
        text = re.sub(r"\s+", " ", self.sql).strip()
        return re.sub(r"%s(?:::\w+(?:\[\])?)?(, %s(?:::\w+(?:\[\])?)?)+", "%s, …", text)


class Recorder:
    """An ``execute_wrapper``: with ``plans`` it explains each statement in the very state in which it is about to run.

    EXPLAIN ANALYZE runs the statement, so it is rolled back before the statement runs in earnest.
    """

    def __init__(self, plans: bool) -> None:
        self.plans = plans
        self.statements: list[Statement] = []

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not CONTROL.match(sql):
            parts = sql.split(TOGETHER) if isinstance(params, dict) else [sql]
            explain = self.plans and not many and EXPLAINED.match(sql) and not context["connection"].needs_rollback
            found = self._explained(context["connection"], parts, params) if explain else []
            with _lock:
                self.statements += found or [Statement(part, None, 0) for part in parts]
        return execute(sql, params, many, context)

    def _explained(self, wrapper: BaseDatabaseWrapper, parts: list[str], params: Any) -> list[Statement]:
        """Each of the statements that are sent together, after those before it."""
        raw = wrapper.connection
        inside = not wrapper.get_autocommit()
        with raw.cursor() as cursor:
            cursor.execute("SAVEPOINT explained" if inside else "BEGIN")
            try:
                if _can_tell(raw):
                    cursor.execute(TELL)
                return [_planned(raw, cursor, sql, params) for sql in parts]
            except psycopg2.Error:  # as it will be when it runs in earnest
                return []
            finally:
                cursor.execute("ROLLBACK TO SAVEPOINT explained" if inside else "ROLLBACK")


def _planned(raw: Any, cursor: Any, sql: str, params: Any) -> Statement:
    raw.notices = []
    cursor.execute(EXPLAIN + sql, params)
    explained = cursor.fetchone()[0]
    found = (json.loads(explained) if isinstance(explained, str) else explained)[0]
    plan = found["Plan"]
    inside = tuple(_told(notice) for notice in raw.notices if PARTITION.search(notice))
    return Statement(sql, plan, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], inside)


def _can_tell(raw: Any) -> bool:
    if raw not in _tells:
        with raw.cursor() as cursor:
            cursor.execute(CAN_TELL)
            _tells[raw] = cursor.fetchone()[0]
    return _tells[raw]


def _told(notice: str) -> dict[str, Any]:
    """``NOTICE:  duration: 0.1 ms  plan:`` and the plan."""
    return dict(json.JSONDecoder().raw_decode(notice[notice.index("{") :])[0]["Plan"])


@contextlib.contextmanager
def recorded(plans: bool = False) -> Iterator[list[Statement]]:
    """What this thread's connection runs, and those that are opened meanwhile (an answer's producer has its own)."""
    recorder, watched = Recorder(plans), []

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connection.execute_wrappers.append(recorder)
        watched.append(connection.execute_wrappers)

    connection_created.connect(watch)
    try:
        with connection.execute_wrapper(recorder):
            yield recorder.statements
    finally:
        connection_created.disconnect(watch)
        for wrappers in watched:
            wrappers.remove(recorder)
