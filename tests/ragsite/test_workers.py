"""The two kinds of Celery worker and who takes what; test_up.py has them in a running site."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from celery import Celery, current_app
from django.conf import settings as site_settings
from django.db import connection
from redis.exceptions import ConnectionError as BrokerAway

from ragsite import queues
from ragsite.heartbeat import alive_key, quick_redis
from ragsite.layout import PROJECT_DIR
from ragsite.queues import messages_in
from ragsite.routes import INGEST_SMALL, MAINTENANCE, QUEUES
from tests.instance import until


def queue_of(task: str) -> str:
    return current_app.amqp.router.route({}, task)["queue"].name


@pytest.fixture
def empty_queues() -> Iterator[None]:
    """Other tests on this broker leave wake-ups behind; nobody takes them."""
    purge_queues()
    yield
    purge_queues()


def purge_queues() -> None:
    with current_app.connection_or_acquire() as broker, broker.channel() as channel:
        for queue in QUEUES:
            channel.queue_purge(queue)


def test_messages_that_wait_are_counted(empty_queues: None) -> None:
    assert messages_in(INGEST_SMALL) == 0
    for _ in range(3):
        current_app.send_task("processing.tasks.process_next")
    current_app.send_task("processing.tasks.wake_workers")
    assert messages_in(INGEST_SMALL) == 3
    assert messages_in(MAINTENANCE) == 1


def worker(*options: str) -> "subprocess.Popen[bytes]":
    """A worker on the broker of the tests, on their database."""
    command = [sys.executable, "-m", "celery", "--app=ragsite", "--quiet", "worker", "--without-gossip", *options]
    database = connection.settings_dict
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}?host={database['HOST']}"
    environment = {**os.environ, "REDIS_URL": site_settings.REDIS_URL, "DATABASE_URL": url}
    return subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stderr=subprocess.DEVNULL)


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_threads_announces_its_own_queue_and_keeps_a_connection_a_thread_at_most(
    empty_queues: None,
) -> None:
    with quick_redis() as redis:
        redis.delete(*map(alive_key, QUEUES))
        process = worker("--queues=maintenance", "--pool=threads", "--concurrency=4")
        try:
            for _ in range(8):
                current_app.send_task("chat.tasks.sweep_interrupted")
            assert until(lambda: redis.exists(alive_key(MAINTENANCE)))
            assert not redis.exists(alive_key(INGEST_SMALL))
            assert until(lambda: messages_in(MAINTENANCE) == 0)
            assert until(lambda: connections() <= 4)
        finally:
            process.terminate()
            process.wait(30)
            redis.delete(alive_key(MAINTENANCE))


def connections() -> int:
    """Of others than this test to its database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]


def test_a_broker_that_is_down_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with Celery("broken", broker="redis://127.0.0.1:9/0", set_as_current=False) as app:
        app.conf.broker_transport_options = site_settings.CELERY_BROKER_TRANSPORT_OPTIONS
        monkeypatch.setattr("ragsite.queues.current_app", app)
        monkeypatch.setattr("ragsite.queues._channels", {})
        with pytest.raises(BrokerAway):
            messages_in(INGEST_SMALL)


def test_a_connection_that_was_closed_is_made_anew(empty_queues: None) -> None:
    assert messages_in(INGEST_SMALL) == 0
    channel = queues._channels[os.getpid()]
    channel.client.connection_pool.disconnect()
    channel.close()
    current_app.send_task("processing.tasks.process_next")
    assert messages_in(INGEST_SMALL) == 1


def test_while_one_question_hangs_others_do_not_line_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "PATIENCE_SECONDS", 0.01)
    with queues._asking, pytest.raises(TimeoutError):
        messages_in(INGEST_SMALL)


def test_a_clock_that_fails_ends_its_process_so_that_it_is_started_again() -> None:
    code = (
        "from ragsite.clock import Clock\n"
        "class Broken:\n"
        "    def start(self): raise OSError('no schedule')\n"
        "clock = Clock.__new__(Clock)\n"
        "clock.obj = Broken()\n"
        "clock.start(None)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(60) == -signal.SIGKILL
        assert process.stderr
        assert "OSError: no schedule" in process.stderr.read()
