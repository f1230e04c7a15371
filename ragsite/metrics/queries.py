"""How long the database takes, statement by statement."""

import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ragsite import tracing
from ragsite.metrics import record

_VERB = re.compile(r"\s*(?:/\*.*?\*/\s*)?(\w+)", re.S)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?\"?([a-z_]+)", re.I)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "COPY", "SAVEPOINT", "RELEASE", "SET", "LOCK"})


def watch_connections() -> None:
    """Time the statements of each connection that this process makes from now on."""
    connection_created.connect(_watch, dispatch_uid="ragsite.metrics.queries")


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(timed)


def timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A wrapper as Django's ``execute_wrapper`` takes it."""
    started = time.perf_counter()
    try:
        if not tracing.is_on():
            return execute(sql, params, many, context)
        with tracing.call(f"database {name_of(str(sql))}"):
            return execute(sql, params, many, context)
    finally:
        seconds = time.perf_counter() - started
        record.query(seconds)
        if seconds >= record.SLOW_QUERY_SECONDS:
            record.slow_query(name_of(str(sql)), seconds)


def name_of(sql: str) -> str:
    """What a statement does to which table, ``SELECT documents_document``: few names, and no values of anybody's."""
    verb = _VERB.match(sql)
    word = verb[1].upper() if verb else ""
    tables = [table for table in _TABLE.findall(sql[:5000]) if table in _tables()]
    return f"{word if word in _VERBS else 'other'} {tables[0] if tables else 'other'}"


@cache
def _tables() -> frozenset[str]:
    return frozenset(model._meta.db_table for model in apps.get_models(include_auto_created=True))
