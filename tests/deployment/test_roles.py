"""`manage.py up ROLE …`: parts of the site beside servers of one's own."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from ragsite.embedded import CannotStart
from ragsite.encoder.__main__ import CannotStart as EncoderCannotStart
from ragsite.encoder.__main__ import _listen_tcp
from ragsite.layout import PROJECT_DIR, Layout
from ragsite.metrics import worker_port
from ragsite.supervisor import ROLES, up
from ragsite.supervisor.counting import forget_counts, make_room_for_counts
from ragsite.supervisor.roles import ENGINES, WORKERS
from ragsite.supervisor.site import web_program
from tests.instance import environment_for, until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def metrics_port(settings) -> Iterator[int]:
    settings.RAGSITE_HOST, settings.METRICS_PORT, settings.METRICS_TOKEN = "127.0.0.1", free_port(), "known"
    server = worker_port.listen()
    assert server is not None
    yield settings.METRICS_PORT
    server.shutdown()
    server.server_close()


def test_a_role_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(CannotStart, match=r"no beat to start.*web, worker, upkeep, encoder, sandbox"):
        up(["web", "beat"])


@pytest.mark.parametrize("role", ["web", *WORKERS])
def test_a_role_starts_no_server_of_its_own(monkeypatch, role):
    monkeypatch.setenv("DATABASE_URL", "postgres://ragsite@db/ragsite")
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(CannotStart, match="REDIS_URL is not set"):
        up([role])


def test_every_role_has_a_program_of_its_name(tmp_path):
    layout = Layout(tmp_path)
    with socket.socket() as listener:
        web = web_program(listener)
    programs = [web, *(make() for make in WORKERS.values()), *(make(layout) for make in ENGINES.values())]
    assert [program.name for program in programs] == list(ROLES)
    assert web.argv[-1] == "ragsite.wsgi", "migrations are made by `manage.py prepare`, once"


def test_parts_on_one_machine_count_in_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # set by the call, and taken back after the test
    folders = [make_room_for_counts(Layout(tmp_path), part) for part in ("", "web-8001", "web-8002")]
    assert len({str(folder) for folder in folders}) == 3
    for folder in folders:
        forget_counts(folder)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_web_node_serves_while_it_drains_and_then_refuses_while_it_finishes(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    away = {"DATABASE_URL": "postgres://ragsite@127.0.0.1:9/ragsite", "REDIS_URL": "redis://127.0.0.1:9/0"}
    environment = environment_for(tmp_path, port) | away | {"RAGSITE_DRAIN_SECONDS": "3", "RAGSITE_GRACE_SECONDS": "0"}
    node = subprocess.Popen([sys.executable, "manage.py", "up", "web"], cwd=PROJECT_DIR, env=environment)
    try:
        assert until(lambda: accepts(port) and httpx.get(f"{url}/healthz", timeout=60).status_code == 200)
        with socket.create_connection(("127.0.0.1", port)) as unfinished:
            unfinished.sendall(b"GET /healthz HTTP/1.1\r\n")
            node.terminate()
            assert until(lambda: httpx.get(f"{url}/readyz").json()["status"] == "stopping")
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert until(lambda: not accepts(port))
            assert node.poll() is None, "it was over before it refused"
    finally:
        node.terminate()
        node.wait(60)


def test_a_build_folder_holds_the_model_and_the_static_files(monkeypatch, tmp_path):
    monkeypatch.setenv("RAGSITE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RAGSITE_BUILD_DIR", str(tmp_path / "built"))
    layout = Layout.from_environment()
    assert (layout.models_dir, layout.static_dir) == (tmp_path / "built" / "models", tmp_path / "built" / "static")
    assert layout.files_dir == tmp_path / "data" / "files"
    assert Layout(tmp_path).static_dir == tmp_path / "static"


def test_a_worker_tells_its_metrics_to_who_knows_the_token_and_its_life_to_anyone(metrics_port):
    address = f"http://127.0.0.1:{metrics_port}"
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert httpx.get(f"{address}/metrics").status_code == 403
    told = httpx.get(f"{address}/metrics", headers={"Authorization": "Bearer known"})
    assert "ragsite_documents_total" in told.text
    assert httpx.get(f"{address}/admin").status_code == 404


def test_who_connects_to_a_worker_and_says_nothing_keeps_no_probe_waiting(metrics_port):
    with socket.create_connection(("127.0.0.1", metrics_port)):
        assert httpx.get(f"http://127.0.0.1:{metrics_port}/healthz", timeout=4).status_code == 200
    assert worker_port.Quiet.timeout == 5


def test_a_worker_whose_port_is_taken_works_without_it(metrics_port, caplog):
    assert worker_port.listen() is None
    assert f"no metrics on port {metrics_port}" in caplog.text


def test_the_encoder_listens_beyond_the_machine_only_where_the_network_is_trusted(monkeypatch):
    with pytest.raises(EncoderCannotStart, match="RAGSITE_ALLOW_HTTP=on"):
        _listen_tcp("0.0.0.0", 0, "key")
    monkeypatch.setenv("RAGSITE_ALLOW_HTTP", "on")
    with pytest.raises(EncoderCannotStart, match="EMBEDDING_API_KEY"):
        _listen_tcp("0.0.0.0", 0, "")
    _listen_tcp("0.0.0.0", 0, "key").close()
