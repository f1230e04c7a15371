"""A worker's thread has one connection for all its tasks, and never a broken one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery.signals import task_postrun, task_prerun
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections

from ragsite.backends import kept
from ragsite.celery import app

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """A thread as a worker has it."""
    monkeypatch.setitem(connections.settings[DEFAULT_DB_ALIAS], "CONN_MAX_AGE", 0)
    kept.keep_connections()
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(lambda: connection.close()).result()  # the one of that thread
    for moment in (task_prerun, task_postrun):
        moment.disconnect(dispatch_uid="ragsite.backends.kept")


def asked(statement: str = "SELECT pg_backend_pid()") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def _task(*arguments: str) -> Any:
    """What the task gives; no other test sees it among the site's."""
    task = app.task(asked, name="tests.asked", shared=False, lazy=False)
    try:
        return task.apply(arguments, throw=True).result
    finally:
        app.tasks.unregister(task)


def test_the_next_task_of_a_thread_has_the_same_connection(worker: ThreadPoolExecutor) -> None:
    assert worker.submit(_task).result() == worker.submit(_task).result()


def test_a_connection_that_was_cut_between_two_tasks_is_made_anew(worker: ThreadPoolExecutor) -> None:
    first = worker.submit(_task).result()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [first])

    assert worker.submit(_task).result() != first


def test_a_server_that_takes_no_writes_any_more_is_not_asked_by_the_next_task(worker: ThreadPoolExecutor) -> None:
    first = worker.submit(_task).result()
    write = "SET transaction_read_only = on; DELETE FROM accounts_user RETURNING id"
    with pytest.raises(OperationalError):
        worker.submit(_task, write).result()

    assert worker.submit(_task).result() != first


def test_celery_itself_closes_none() -> None:
    assert app.conf.get("CELERY_DB_REUSE_MAX") > 1_000_000_000
