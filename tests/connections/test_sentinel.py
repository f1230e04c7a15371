"""A site on a Valkey that Sentinels watch: its primary is killed while answers stream and documents are taken in."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from ragsite.layout import PROJECT_DIR, Layout
from tests.connections.valkeys import Watched
from tests.instance import Instance, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DOCUMENTS = 12


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    servers = Watched(tmp_path)
    try:
        yield servers
    finally:
        servers.end()


@pytest.fixture
def model() -> Iterator[int]:
    """A stand-in that takes some twelve seconds for an answer."""
    port = free_port()
    command = [sys.executable, "-m", "tests.load.mock_model", "--port", str(port), "--delay", "60", "--tokens", "200"]
    process = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def site(watched: Watched, model: int, built_model: None, layout: Layout) -> Iterator[Instance]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        (Path(folder) / "models").symlink_to(layout.models_dir.resolve())
        own = {"REDIS_URL": watched.url, "RAGSITE_THROTTLE": "off", "RAGSITE_WORKERS": "2"}
        llm = {"LLM_BASE_URL": f"http://127.0.0.1:{model}/v1", "LLM_MODEL": "mock"}
        instance = Instance(Path(folder), **own, **llm)
        try:
            yield instance.wait_until_ready()
        finally:
            instance.end()


class Reader(threading.Thread):
    """Reads one answer to its end."""

    def __init__(self, http: httpx.Client, method: str, path: str, body: object = None) -> None:
        super().__init__(daemon=True)
        self.request = (http, method, path, body)
        self.lines: list[str] = []

    def run(self) -> None:
        http, method, path, body = self.request
        with http.stream(method, path, json=body, headers={"Accept": "text/event-stream"}) as stream:
            for line in stream.iter_lines():
                self.lines.append(line)

    @property
    def tokens(self) -> str:
        data = [json.loads(line[6:]) for line in self.lines if line.startswith("data: ")]
        return "".join(one["text"] for one in data if set(one) == {"text"})


def test_a_failover_loses_no_answer_and_no_document(site, watched):
    token = site.manage("create_token", "admin", "--name", "test").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=120) as http:
        assert site.manage("check").returncode == 0
        upload(http, 0)
        asked = ask(http)
        assert until(lambda: asked.tokens)
        first = json.loads(next(line for line in asked.lines if line.startswith("data: "))[6:])["message"]
        watched.primary.kill()
        killed = time.monotonic()
        for number in range(1, DOCUMENTS):
            upload(http, number)
        assert until(lambda: promoted(watched))
        took = time.monotonic() - killed
        # Who follows the same answer from another connection, perhaps another process: all of it.
        again = Reader(http, "GET", f"/api/v1/messages/{first}/events")
        again.start()
        for reader in (asked, again):
            reader.join(120)
            assert "event: done" in reader.lines, reader.lines[-5:]
        assert again.tokens == asked.tokens != ""
        listing = "/api/v1/documents?status=processed&page_size=100"
        assert until(lambda: len(http.get(listing).json()["results"]) == DOCUMENTS, 300)
        after = ask(http)
        after.join(120)
        assert "event: done" in after.lines
        parts = http.get("/readyz").json()["parts"]
        assert until(lambda: all(http.get("/readyz").json()["parts"][name]["ok"] for name in parts), 60)
    print(f"the replica was primary {took:.1f} s after the kill")


def upload(http: httpx.Client, number: int) -> None:
    content = f"Note {number}: the alpaca of farm {number} eats grass. ".encode() * 20
    assert http.post("/api/v1/documents", files={"file": (f"n{number}.txt", content)}).status_code == 201


def ask(http: httpx.Client) -> Reader:
    talk = http.post("/api/v1/conversations", json={}).json()
    body = {"content": "What does the alpaca eat?", "fresh": True}
    reader = Reader(http, "POST", f"/api/v1/conversations/{talk['id']}/messages", body)
    reader.start()
    return reader


def promoted(watched: Watched) -> bool:
    with Redis(port=watched.replica.port) as client:
        return client.info("replication")["role"] == "master"
