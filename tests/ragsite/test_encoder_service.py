"""The encoder as a service of its own: for OpenAI's client, behind a balancer, and for a whole site."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import openai
import psycopg2
import pytest
from starlette.testclient import TestClient

from ragsite.encoder import client, server
from ragsite.encoder.build import is_built
from ragsite.encoder.client import EncoderClient, EncoderUnavailable, Patience
from ragsite.encoder.models import model_spec
from ragsite.layout import PROJECT_DIR, Layout
from tests.instance import Instance, free_port, until

MODEL = "multilingual-e5-small"
TEXTS = ["The bridge of Arlen is 742 metres long.", "Der Zug fährt um acht Uhr.", "東京は日本の首都です。"]
KEY = "a key of this test"


class Slow:
    """A model that computes nothing until it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.spec = model_spec(MODEL)
        self.tokenizer = SimpleNamespace(count=len)

    def embed(self, text: str, input_type: str) -> tuple[Any, int]:
        self.may_end.wait(60)
        return np.ones(384, np.float32), 1


@pytest.fixture
def slow() -> Iterator[tuple[Slow, TestClient]]:
    model = Slow()
    with TestClient(server.create_app(cast(Any, model), threads=1)) as api:
        yield model, api
        model.may_end.set()


def asked(api: TestClient, count: int, **headers: str) -> threading.Thread:
    """A request with so many texts is on its way."""
    body = {"input": [f"{headers} {number}" for number in range(count)], "model": MODEL}
    thread = threading.Thread(target=api.post, args=("/v1/embeddings",), kwargs={"json": body, "headers": headers})
    thread.start()
    return thread


def waiting(api: TestClient) -> dict[str, int]:
    return api.get("/healthz").json()["waiting"]


def test_openais_own_client_gets_the_vectors_of_ours(encoder_service: Path) -> None:
    ours = EncoderClient("http://encoder/v1", MODEL, socket=encoder_service)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(encoder_service))) as http:
        theirs = openai.OpenAI(base_url="http://encoder/v1", api_key="unused", http_client=http)
        answer = theirs.embeddings.create(model=MODEL, input=TEXTS)
        passages = np.array([entry.embedding for entry in answer.data], np.float32)
        asked = theirs.embeddings.create(model=MODEL, input=TEXTS[0], extra_body={"input_type": "query"})
        assert [entry.id for entry in theirs.models.list()] == [MODEL]
        with pytest.raises(openai.NotFoundError, match="is not served here"):
            theirs.embeddings.create(model="text-embedding-3-small", input="words")
        with pytest.raises(openai.BadRequestError, match="at most 2048"):
            theirs.embeddings.create(model=MODEL, input=["words"] * 2049)
    np.testing.assert_allclose(passages, ours.embed_passages(TEXTS), atol=1e-6)  # ours makes their length 1 once more
    np.testing.assert_allclose(asked.data[0].embedding, ours.embed_query(TEXTS[0]), atol=1e-6)
    assert answer.usage.total_tokens > len(TEXTS)


@pytest.mark.parametrize(
    ("priority", "lane"), [("u=1", "query"), ("i, u=0", "query"), ("u=5", "passage"), ("", "passage")]
)
def test_who_sends_no_extensions_may_say_by_a_header_that_somebody_waits(slow, priority: str, lane: str) -> None:
    model, api = slow
    thread = asked(api, 5, priority=priority)
    assert until(lambda: waiting(api)[lane] == 4)  # one is in work
    assert sum(waiting(api).values()) == 4
    model.may_end.set()
    thread.join()


def test_what_would_wait_too_long_is_refused_for_a_moment(slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_WAITING", {"query": 100, "passage": 3})
    model, api = slow
    thread = asked(api, 9)  # what comes while nothing waits is taken, whatever its size
    assert until(lambda: waiting(api)["passage"] == 8)
    refused = api.post("/v1/embeddings", json={"input": "one more"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    urgent = asked(api, 2, priority="u=1")
    assert until(lambda: waiting(api)["query"] == 1)  # questions are not refused for it
    model.may_end.set()
    thread.join()
    urgent.join()
    assert api.post("/v1/embeddings", json={"input": "one more"}).status_code == 200


# two of them behind a balancer


class Replica:
    """`python -m ragsite.encoder` on a port."""

    def __init__(self, models: Path) -> None:
        self.port = free_port()
        self.models = models
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ragsite.encoder", "--port", str(self.port), "--models", str(self.models)]
        environment = os.environ | {"EMBEDDING_API_KEY": KEY, "EMBEDDING_MODEL": MODEL}
        self.process = subprocess.Popen([*command, "--threads", "1"], cwd=PROJECT_DIR, env=environment)
        assert until(lambda: answers(self.port) or self.process.poll() is not None)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 90s
  timeout server 90s
  option redispatch
  retries 2
frontend encoder
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /healthz
{servers}
"""


@pytest.fixture(scope="module")
def models() -> Path:
    folder = PROJECT_DIR / "var" / "models"
    if not is_built(MODEL, folder):
        pytest.skip("no model in var/models: python -m ragsite.encoder.build")
    return folder


@pytest.fixture
def replicas(models: Path) -> Iterator[list[Replica]]:
    made = [Replica(models) for _ in range(2)]
    yield made
    for replica in made:
        replica.process.kill()
        replica.process.wait()


@pytest.fixture
def balancer(replicas: list[Replica], tmp_path: Path) -> Iterator[str]:
    """The address of two replicas, as EMBEDDING_BASE_URL has it."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no haproxy")
    port, config = free_port(), tmp_path / "haproxy.cfg"
    servers = [f"  server replica{each.port} 127.0.0.1:{each.port} check inter 200ms" for each in replicas]
    config.write_text(HAPROXY.format(port=port, servers="\n".join(servers)))
    with subprocess.Popen([program, "-f", str(config), "-db"], stderr=subprocess.DEVNULL) as process:
        assert until(lambda: answers(port))
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


@pytest.mark.slow
def test_a_replica_that_is_told_to_stop_finishes_and_one_that_is_killed_is_made_up_for(
    replicas: list[Replica], balancer: str
) -> None:
    ours = EncoderClient(balancer, MODEL, api_key=KEY)
    expected = ours.embed_passages(TEXTS)
    failures: list[Exception] = []
    ended = threading.Event()

    def ask() -> None:
        try:
            while not ended.is_set():
                np.testing.assert_array_equal(ours.embed_passages(TEXTS * 10)[:3], expected)
                ours.embed_query("How long is the bridge?")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for replica in replicas:
                code = replica.end(number)
                assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
                replica.start()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.slow
def test_on_a_port_what_has_come_is_finished_after_sigterm(replicas: list[Replica]) -> None:
    theirs = openai.OpenAI(base_url=f"http://127.0.0.1:{replicas[0].port}/v1", api_key=KEY, max_retries=0)
    found: list[int] = []
    body = [f"{number} The river carries more water than any other." for number in range(100)]
    thread = threading.Thread(target=lambda: found.append(len(theirs.embeddings.create(model=MODEL, input=body).data)))
    thread.start()
    health = f"http://127.0.0.1:{replicas[0].port}/healthz"
    assert until(lambda: httpx.get(health).json()["waiting"]["passage"] > 0)
    assert replicas[0].end(signal.SIGTERM) == 0
    thread.join()
    assert found == [100]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"http://127.0.0.1:{replicas[1].port}/v1", api_key="wrong").models.list()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_site_moves_to_the_service_and_keeps_its_vectors(
    replicas: list[Replica], balancer: str, models: Path, tmp_path: Path
) -> None:
    """First with an encoder of its own, then with the service, of which one is killed while documents come in."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "models").symlink_to(models)
    site = Instance(folder, RAGSITE_THROTTLE="off").wait_until_ready()
    try:
        token = site.manage("create_token", "anna", "--create", "--name", "test").stdout.strip()
        before = put_in(site, token, {"bridge.txt": TEXTS[0]})
        had = vectors(folder, before)
    finally:
        site.end()
    site = Instance(
        folder, RAGSITE_THROTTLE="off", EMBEDDING_BASE_URL=balancer, EMBEDDING_API_KEY=KEY
    ).wait_until_ready()
    try:
        assert site.pid_of("encoder") == 0
        replicas[0].end()
        after = put_in(site, token, {f"{number}.txt": f"{TEXTS[1]} Number {number}." for number in range(20)})
        assert vectors(folder, before) == had
        assert {name for name, _ in vectors(folder, before + after)} == {f"{MODEL}/sentences"}
        found = httpx.post(
            f"http://127.0.0.1:{site.port}/api/v1/search",
            json={"query": "How long is the bridge of Arlen?", "limit": 1},
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ).json()["results"][0]
        assert (found["filename"], found["scores"]["meaning"] > 0) == ("bridge.txt", True)
        assert site.status("/readyz") == 200
    finally:
        site.end()


def put_in(site: Instance, token: str, files: dict[str, str]) -> list[str]:
    """The ids of the documents, when all are processed."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{site.port}", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as http:
        answers = [http.post("/api/v1/documents", files={"file": (name, text)}) for name, text in files.items()]
        ids = [answer.json()["id"] for answer in answers]
        for each in ids:
            assert until(lambda each=each: http.get(f"/api/v1/documents/{each}").json()["status"] == "processed"), (
                site.lines
            )
    return ids


def vectors(folder: Path, ids: list[str]) -> list[tuple[str, int]]:
    """Which models' vectors these documents have, and how many."""
    connection = psycopg2.connect(Layout(folder).database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT m.name, count(*) FROM documents_embedding e JOIN documents_embeddingmodel m "
                "ON m.id = e.model_id WHERE e.document_id = ANY (%s::uuid[]) GROUP BY 1",
                [ids],
            )
            return cursor.fetchall()
    finally:
        connection.close()


def test_a_service_that_refuses_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [429, 429, 200]
    ours = EncoderClient("http://encoder/v1", MODEL, local=True)

    def answer(request: httpx.Request) -> httpx.Response:
        status = told.pop(0)
        vector = {"data": [{"index": 0, "embedding": [1.0] * 384}]}
        return httpx.Response(status, json=vector if status == 200 else {"error": {"message": "busy"}})

    monkeypatch.setattr(ours, "_connect", lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    monkeypatch.setattr(client, "QUERY_PATIENCE", Patience(seconds=5, first_pause=0.01))
    assert ours.embed_query("words").shape == (384,)
    told[:] = [429] * 100
    monkeypatch.setattr(client, "QUERY_PATIENCE", Patience(seconds=0.01, first_pause=0.01))
    with pytest.raises(EncoderUnavailable, match="429"):
        ours.embed_query("words")
