"""A server that is full of cached values: no job is lost, whatever it evicts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app
from kombu import Connection
from redis import Redis
from redis.exceptions import ResponseError

from documents.models import Document
from documents.queue import waking
from processing import pipeline
from ragsite import queues, routes
from tests.connections.valkeys import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
MESSAGES = 50


class Broker:
    """Celery's broker of this test, on a server of 8 MB."""

    def __init__(self, folder: Path, policy: str) -> None:
        self.server = Valkey(folder, "--maxmemory", "8mb", "--maxmemory-policy", policy)
        options = {"global_keyprefix": "ragsite:broker:", "socket_timeout": 5}
        self.connection = Connection(self.server.url, transport_options=options)

    def send(self) -> None:
        for _ in range(MESSAGES):
            current_app.send_task(routes.PROCESS_NEXT, queue="ingest-small", connection=self.connection, retry=False)

    def waiting(self) -> int:
        with Redis(port=self.server.port) as client:
            return client.llen("ragsite:broker:ingest-small")

    def fill(self, *, expire: bool) -> int:
        """Put values in until the server has thrown some away, or takes no more. Returns how many it took."""
        with Redis(port=self.server.port) as client:
            for number in range(20_000):
                try:
                    client.set(f"ragsite:value:{number}", b"x" * 4096, ex=3600 if expire else None)
                except ResponseError:
                    return number
            assert client.info("stats")["evicted_keys"] > 1000
        return 20_000


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Broker]:
    made = Broker(tmp_path, request.param)
    yield made
    made.connection.release()
    made.server.kill()


@pytest.mark.parametrize("broker", ["volatile-lru"], indirect=True)
def test_messages_outlive_a_cache_that_is_filled_to_the_brim(broker):
    """Our own server's policy: what has no expiry is never evicted, and room is made for new messages."""
    broker.send()
    broker.fill(expire=True)
    assert broker.waiting() == MESSAGES
    broker.send()
    assert broker.waiting() == 2 * MESSAGES


@pytest.mark.parametrize("broker", ["allkeys-lru", "noeviction"], indirect=True)
def test_a_job_outlives_its_message(broker, owner, upload, monkeypatch, sandbox_service, fake_encoder):
    """A server that evicts anything, or takes nothing: documents are taken in, found by the next round, processed."""

    class App:
        """Celery, with the broker of this test."""

        def __getattr__(self, name: str):
            return getattr(current_app, name)

        def connection_for_write(self):
            return broker.connection.clone()

        def send_task(self, *args, **kwargs):
            return current_app.send_task(*args, connection=broker.connection, **kwargs)

    for module in (waking, queues):
        monkeypatch.setattr(module, "current_app", App())
    broker.send()
    broker.fill(expire=False)
    broker.fill(expire=False)
    document = upload(owner, "The alpaca eats grass.")
    assert list(Document.objects.claimable()) == [document]
    waking.wake_for_all()  # what upkeep's clock does every five seconds
    assert pipeline.process_next() is not None
    document.refresh_from_db()
    assert document.status == "processed"
