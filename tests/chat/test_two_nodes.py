"""Two web nodes, as on two machines: data folders of their own, shared are database, Valkey, key and files alone."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat.models import Message
from documents.models import Document
from ragsite.accounts.models import ApiToken, User
from ragsite.layout import Layout
from tests.chat.conftest import QUESTION, wait_for
from tests.load.mock_model import Server, Times, running_mock
from tests.load.site import Site, running_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nodes")]
SECRET = "the same on both nodes, or neither could read what the other has signed"
STREAM = {"Accept": "text/event-stream"}
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def slow_mock() -> Iterator[Server]:
    with running_mock(Times(first=100, delay=40, tokens=100, beat=10)) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(
    layout: Layout, slow_mock: Server, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Site]]:
    shared = tmp_path_factory.mktemp("shared")
    settings = {
        "LLM_BASE_URL": f"http://127.0.0.1:{slow_mock.port}/v1",
        "LLM_MODEL": "mock",
        "RAGSITE_SECRET_KEY": SECRET,
        "RAGSITE_DRAIN_SECONDS": "0.5",
        "RAGSITE_GRACE_SECONDS": "60",
    }
    folders = [_node(tmp_path_factory.mktemp(name), shared) for name in "ab"]
    with (
        running_site(layout, RAGSITE_DATA_DIR=str(folders[0]), **settings) as first,
        running_site(layout, RAGSITE_DATA_DIR=str(folders[1]), **settings) as second,
    ):
        yield first, second


def _node(folder: Path, shared: Path) -> Path:
    """A data folder in which two folders are mounted from elsewhere."""
    for part in ("files", "uploads"):
        (shared / part).mkdir(exist_ok=True)
        (folder / part).symlink_to(shared / part)
    return folder


@pytest.fixture
def clients(nodes: tuple[Site, Site], owner: User) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    headers = {"Authorization": f"Bearer {ApiToken.issue(owner=owner, name='nodes')[1]}"}
    made = [httpx.Client(base_url=node.url, headers=headers, timeout=60, trust_env=False) for node in nodes]
    yield made[0], made[1]
    for client in made:
        client.close()


def asked(client: httpx.Client) -> Any:
    conversation = client.post("/api/v1/conversations", json={}).json()["id"]
    path = f"/api/v1/conversations/{conversation}/messages"
    return client.stream("POST", path, json={"content": QUESTION}, headers=STREAM)


def events(response: httpx.Response) -> Iterator[tuple[str, int, dict[str, Any]]]:
    name, number = "", 0
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            yield name, number, json.loads(value)


def until(stream: Iterator[tuple[str, int, dict[str, Any]]], name: str) -> tuple[int, dict[str, Any]]:
    return next((number, data) for found, number, data in stream if found == name)


def test_one_node_resumes_and_stops_what_the_other_writes(
    library: dict[str, Document], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    here, there = clients
    with asked(here) as response:
        stream = events(response)
        identifier = next(stream)[2]["message"]
        last, _ = until(stream, "token")
        headers = STREAM | {"Last-Event-ID": str(last)}
        with there.stream("GET", f"/api/v1/messages/{identifier}/events", headers=headers) as resumed:
            assert next(events(resumed))[1] == last + 1
        assert there.post(f"/api/v1/messages/{identifier}/stop").status_code == 202
        assert until(stream, "done")[1]["message"]["status"] == "stopped"


def test_an_upload_begun_at_one_node_goes_on_at_the_other(
    library: dict[str, Document], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    here, there = clients
    name = base64.b64encode(b"halves.txt").decode()
    begun = here.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "20", "Upload-Metadata": f"filename {name}"})
    path = httpx.URL(begun.headers["Location"]).path
    body = TUS | {"Content-Type": "application/offset+octet-stream"}
    assert here.patch(path, headers=body | {"Upload-Offset": "0"}, content=b"The Rhine ").status_code == 204
    assert there.head(path, headers=TUS).headers["Upload-Offset"] == "10"
    whole = there.patch(path, headers=body | {"Upload-Offset": "10"}, content=b"is a river")
    document = whole.headers["Upload-Document"]
    assert here.get(f"/api/v1/documents/{document}/file").content == b"The Rhine is a river"


def test_cursors_of_one_node_are_read_by_the_other(
    library: dict[str, Document], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    first = clients[0].get("/api/v1/documents?page_size=1").json()
    second = clients[1].get(httpx.URL(first["next"]).raw_path.decode()).json()
    assert {first["results"][0]["id"], second["results"][0]["id"]} == {str(one.id) for one in library.values()}


def test_an_answer_whose_node_dies_is_followed_to_its_end_at_the_other_and_its_question_can_be_asked_again(
    library: dict[str, Document], clients: tuple[httpx.Client, httpx.Client], nodes: tuple[Site, Site]
) -> None:
    here, there = clients
    words = ""
    with asked(here) as response:
        stream = events(response)
        identifier = next(stream)[2]["message"]
        last, data = until(stream, "token")
        words += data["text"]
        for pid in nodes[0].workers():  # the machine has lost its power: nobody can say that they are gone
            os.kill(pid, signal.SIGKILL)
        nodes[0].process.kill()
        with pytest.raises(httpx.TransportError):
            for name, last, data in stream:  # noqa: B007
                words += data.get("text", "") if name == "token" else ""
    headers = STREAM | {"Last-Event-ID": str(last)}
    with there.stream("GET", f"/api/v1/messages/{identifier}/events", headers=headers) as resumed:
        rest = list(events(resumed))
    assert [number for _, number, _ in rest] == list(range(last + 1, last + 1 + len(rest)))
    words += "".join(data["text"] for name, _, data in rest if name == "token")
    name, _, data = rest[-1]
    assert (name, data["code"]) == ("error", "interrupted")
    stored = there.get(f"/api/v1/messages/{identifier}").json()
    assert (stored["status"], stored["content"]) == ("interrupted", words)
    conversation = Message.objects.get(id=identifier).conversation_id
    question = {"content": QUESTION}
    path = f"/api/v1/conversations/{conversation}/messages"
    kept = there.get(path).json()["results"]
    assert [message["role"] for message in kept] == ["user", "assistant"]
    assert there.post(path, json=question).json()["status"] == "complete"


def test_a_node_that_is_told_to_stop_serves_on_until_balancers_know_and_finishes_its_answers(
    library: dict[str, Document], clients: tuple[httpx.Client, httpx.Client], nodes: tuple[Site, Site]
) -> None:
    there = clients[1]
    with asked(there) as response:
        stream = events(response)
        until(stream, "token")
        nodes[1].process.send_signal(signal.SIGTERM)
        assert wait_for(lambda: there.get("/readyz").status_code == 503)
        assert there.get("/healthz").status_code == 200
        assert until(stream, "done")[1]["message"]["status"] == "complete"
    assert nodes[1].process.wait(30) == 0
