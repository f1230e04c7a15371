"""/healthz and /readyz."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from django.conf import settings as site_settings

from ragsite import health, stopping
from ragsite.heartbeat import LASTS_SECONDS, alive_key, announce, quick_redis
from ragsite.layout import PROJECT_DIR
from ragsite.routes import DOCUMENT_QUEUES, EMBED, INGEST_BULK, INTERACTIVE, MAINTENANCE, QUEUES

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    """The signs of life of both kinds of worker."""
    announce(QUEUES)
    yield
    with quick_redis() as redis:
        redis.delete(*map(alive_key, QUEUES))


@pytest.fixture
def encoder(tmp_path, settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMBEDDING_BASE_URL = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        yield


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_healthz_asks_nobody(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


def test_readyz_names_each_part(client, worker, encoder):
    response = client.get("/readyz")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ok"
    assert set(body["parts"]) == {"database", "migrations", "cache", "worker", "upkeep", "encoder"}
    assert all(part["ok"] and part["seconds"] >= 0 for part in body["parts"].values())
    assert "no-store" in response["Cache-Control"]


def test_a_missing_worker_degrades_and_does_not_fail(client, encoder):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["parts"]["worker"]["ok"] is False


@pytest.mark.parametrize(("queues", "part"), [(DOCUMENT_QUEUES, "worker"), ([MAINTENANCE], "upkeep")])
def test_each_kind_of_worker_is_missed(client, worker, encoder, queues, part):
    with quick_redis() as redis:
        redis.delete(*map(alive_key, queues))
    parts = client.get("/readyz").json()["parts"]
    assert [name for name, state in parts.items() if not state["ok"]] == [part]


def test_a_missing_encoder_degrades_and_does_not_fail(client, worker, settings):
    settings.EMBEDDING_BASE_URL = "http://127.0.0.1:9/v1"
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["parts"]["encoder"]["ok"] is False


@pytest.mark.parametrize("port", [9, "silent"])
def test_a_cache_that_is_down_or_silent_fails_it_soon(client, settings, port, silent, encoder):
    settings.CACHE_URL = f"redis://:hunter2@127.0.0.1:{silent if port == 'silent' else port}/0"
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert response.json()["parts"]["cache"]["ok"] is False
    assert response.json()["parts"]["database"]["ok"] is True
    assert b"hunter2" not in response.content


@pytest.mark.parametrize("port", ["9", "silent"])
def test_a_database_that_is_down_or_silent_fails_it_soon(client, monkeypatch, port, silent, encoder):
    right = health._connection_parameters()
    wrong = {**right, "host": "127.0.0.1", "port": str(silent) if port == "silent" else port, "password": "hunter2"}
    monkeypatch.setattr(health, "_connection_parameters", lambda: wrong)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["database"]["ok"] is False
    assert response.json()["parts"]["migrations"]["ok"] is False
    assert response.json()["parts"]["cache"]["ok"] is True
    assert b"hunter2" not in response.content


def test_a_part_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(health, "DEADLINE_SECONDS", 0.05)
    parts = health.ask({"slow": lambda: time.sleep(0.5), "quick": lambda: None})
    assert parts["slow"]["detail"] == "does not answer"
    assert parts["quick"]["ok"] is True


def test_migrations_that_are_not_applied_fail_it(client, monkeypatch, encoder):
    monkeypatch.setattr(health, "newest_migrations", lambda: frozenset({("accounts", "9999_future")}))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "not applied" in response.json()["parts"]["migrations"]["detail"]


def test_a_balancer_is_not_told_of_a_database_or_cache_that_all_nodes_miss(client, monkeypatch, settings, encoder):
    wrong = {**health._connection_parameters(), "host": "127.0.0.1", "port": "9"}
    monkeypatch.setattr(health, "_connection_parameters", lambda: wrong)
    settings.CACHE_URL = "redis://127.0.0.1:9/0"
    response = client.get("/readyz?balancer")
    assert (response.status_code, response.json()["status"]) == (200, "unavailable")
    assert client.get("/readyz").status_code == 503


def test_a_balancer_is_told_of_missing_migrations_and_of_a_stop(client, monkeypatch, encoder):
    assert client.get("/readyz?balancer").status_code == 200
    monkeypatch.setattr(health, "newest_migrations", lambda: frozenset({("accounts", "9999_future")}))
    assert client.get("/readyz?balancer").status_code == 503
    monkeypatch.setattr(health, "newest_migrations", frozenset)
    assert client.get("/readyz?balancer").status_code == 200
    monkeypatch.setattr(stopping._begun, "is_set", lambda: True)
    assert client.get("/readyz?balancer").status_code == 503


def test_an_empty_database_has_no_migrations_applied():
    parameters = {**health._connection_parameters(), "dbname": "template1"}
    with pytest.raises(health.NotWell):
        health.check_migrations(lambda sql: health.query(parameters, sql))


def test_readyz_is_there_without_https_and_for_any_host(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/healthz", headers={"host": "10.0.0.7"}).status_code == 200
    assert client.get("/readyz", headers={"host": "10.0.0.7"}).status_code == 200
    assert client.post("/healthz").status_code == 405


def test_a_queue_whose_documents_nobody_takes_is_named(client, worker, encoder):
    """What is interactive or to be embedded, others take too."""
    with quick_redis() as redis:
        redis.delete(alive_key(INTERACTIVE), alive_key(EMBED))
        assert client.get("/readyz").json()["parts"]["worker"]["ok"]
        redis.delete(alive_key(INGEST_BULK))
    told = client.get("/readyz").json()
    assert told["parts"]["worker"]["detail"] == "no worker of ingest-bulk has reported in the last 30 seconds"
    assert told["status"] == "degraded"


def test_a_process_that_is_to_stop_is_not_ready_and_lives(client, monkeypatch):
    monkeypatch.setattr(stopping._begun, "is_set", lambda: True)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "stopping")
    assert client.get("/healthz").status_code == 200


def test_the_sign_of_life_ends_by_itself(worker):
    with quick_redis() as redis:
        assert 0 < redis.ttl(alive_key("ingest-small")) <= LASTS_SECONDS


def test_announcing_without_a_cache_is_no_error(settings):
    settings.CACHE_URL = "redis://127.0.0.1:9/0"
    announce(["ingest-small"])


def test_a_real_worker_announces_itself_for_each_of_its_queues(tmp_path):
    with quick_redis() as redis:
        redis.delete(*map(alive_key, QUEUES))
        command = [sys.executable, "-m", "celery", "-A", "ragsite", "worker", "--pool=solo", "--without-gossip"]
        environment = {**os.environ, "REDIS_URL": site_settings.REDIS_URL}
        process = subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while redis.exists(*map(alive_key, QUEUES)) < len(QUEUES):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            redis.delete(*map(alive_key, QUEUES))
