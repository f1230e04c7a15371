"""The statements of a block that ask more than one shard, by Citus's own plans."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from django.db import connection
from django.db.backends.signals import connection_created

from tests.citus.tasks import task_counts
from tests.queries.owners import CLOCK
from tests.queries.recording import EXPLAINED


@contextlib.contextmanager
def asking_more_than_one_shard() -> Iterator[list[str]]:
    """Of this connection, and of those that are opened meanwhile."""
    found: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if EXPLAINED.match(sql) and not many and CLOCK not in sql and not context["connection"].needs_rollback:
            counts = _tasks(context["connection"], sql, params)
            if any(count != 1 for count in counts):
                found.append(f"{counts} {sql[:300]}")
        return execute(sql, params, many, context)

    def opened(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(watch)

    connection_created.connect(opened)
    try:
        with connection.execute_wrapper(watch):
            yield found
    finally:
        connection_created.disconnect(opened)


def _tasks(wrapper: Any, sql: str, params: Any) -> list[int]:
    inside = not wrapper.get_autocommit()
    with wrapper.connection.cursor() as cursor:
        cursor.execute("SAVEPOINT explained" if inside else "BEGIN")
        try:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            return task_counts(cursor.fetchone()[0])
        except psycopg2.Error:  # as it will be when it runs in earnest
            return []
        finally:
            cursor.execute("ROLLBACK TO SAVEPOINT explained" if inside else "ROLLBACK")
