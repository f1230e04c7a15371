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

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    """The signs of life of both kinds of worker."""
    announce(["documents", "maintenance"])
    yield
    with quick_redis() as redis:
        redis.delete(alive_key("documents"), alive_key("maintenance"))


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


@pytest.mark.parametrize(("queue", "part"), [("documents", "worker"), ("maintenance", "upkeep")])
def test_each_kind_of_worker_is_missed(client, worker, encoder, queue, part):
    with quick_redis() as redis:
        redis.delete(alive_key(queue))
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


def test_an_empty_database_has_no_migrations_applied():
    parameters = {**health._connection_parameters(), "dbname": "template1"}
    with pytest.raises(health.NotWell):
        health.check_migrations(lambda sql: health.query(parameters, sql))


def test_readyz_is_there_without_https_and_for_any_host(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/healthz", headers={"host": "10.0.0.7"}).status_code == 200
    assert client.get("/readyz", headers={"host": "10.0.0.7"}).status_code == 200
    assert client.post("/healthz").status_code == 405


def test_a_process_that_is_to_stop_is_not_ready_and_lives(client, monkeypatch):
    monkeypatch.setattr(stopping._begun, "is_set", lambda: True)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "stopping")
    assert client.get("/healthz").status_code == 200


def test_the_sign_of_life_ends_by_itself(worker):
    with quick_redis() as redis:
        assert 0 < redis.ttl(alive_key("documents")) <= LASTS_SECONDS


def test_announcing_without_a_cache_is_no_error(settings):
    settings.CACHE_URL = "redis://127.0.0.1:9/0"
    announce(["documents"])


def test_a_real_worker_announces_itself_for_each_of_its_queues(tmp_path):
    with quick_redis() as redis:
        redis.delete(alive_key("documents"), alive_key("maintenance"))
        command = [sys.executable, "-m", "celery", "-A", "ragsite", "worker", "--pool=solo", "--without-gossip"]
        environment = {**os.environ, "REDIS_URL": site_settings.REDIS_URL}
        process = subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while redis.exists(alive_key("documents"), alive_key("maintenance")) < 2:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            redis.delete(alive_key("documents"), alive_key("maintenance"))
