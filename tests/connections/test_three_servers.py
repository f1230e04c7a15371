"""Broker, cache and streams on three servers: each holds what is its own, and losing any one loses nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from ragsite.layout import Layout
from tests.connections.valkeys import Valkey
from tests.instance import Instance, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Servers = dict[str, Valkey]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = {name: Valkey(tmp_path) for name in ("BROKER_URL", "CACHE_URL", "STREAMS_URL")}
    yield made
    for server in made.values():
        server.kill()


@pytest.fixture
def site(servers: Servers, built_model: None, layout: Layout) -> Iterator[Instance]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        (Path(folder) / "models").symlink_to(layout.models_dir.resolve())
        urls = {name: server.url for name, server in servers.items()}
        instance = Instance(Path(folder), RAGSITE_THROTTLE="off", **urls)
        try:
            yield instance.wait_until_ready()
        finally:
            instance.end()


def keys(server: Valkey) -> set[str]:
    with Redis(port=server.port, decode_responses=True) as client:
        return set(client.scan_iter(count=1000))


def use(http: httpx.Client, word: str) -> None:
    """Upload, processing, and an answer that is read as a stream."""
    files = {"file": (f"{word}.txt", f"The {word} eats grass. ".encode() * 20)}
    document = http.post("/api/v1/documents", files=files).raise_for_status().json()
    assert until(lambda: http.get(f"/api/v1/documents/{document['id']}").json()["status"] == "processed", 200)
    talk = http.post("/api/v1/conversations", json={}).json()
    question = {"content": f"What does the {word} eat?"}
    accept = {"Accept": "text/event-stream"}
    with http.stream("POST", f"/api/v1/conversations/{talk['id']}/messages", json=question, headers=accept) as stream:
        assert "event: done" in list(stream.iter_lines())


def processed(http: httpx.Client) -> int:
    return len(http.get("/api/v1/documents?status=processed&page_size=100").json()["results"])


def test_each_server_has_what_is_its_own_and_any_one_may_go(site, servers):
    assert not site.pid_of("valkey"), "no server of our own is needed"
    token = site.manage("create_token", "admin", "--name", "test").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=120) as http:
        use(http, "alpaca")
        found = {name: keys(server) for name, server in servers.items()}
        assert all(name.startswith("ragsite:broker:") or "kombu" in name for name in found["BROKER_URL"])
        assert all(name.startswith("ragsite:answers:") for name in found["STREAMS_URL"])
        assert found["STREAMS_URL"]
        others = ("ragsite:broker:", "ragsite:answers:")
        assert not any(name.startswith(others) for name in found["CACHE_URL"])
        for name, word in (("STREAMS_URL", "llama"), ("CACHE_URL", "camel"), ("BROKER_URL", "goat")):
            servers[name].kill()
            if name == "BROKER_URL":  # taken in without it, processed when it is back
                http.post("/api/v1/documents", files={"file": ("w.txt", b"The sheep waits.")}).raise_for_status()
                servers[name].start()
                assert until(lambda: processed(http) == 4, 200)
            else:
                use(http, word)
                servers[name].start()
        use(http, "goat")
