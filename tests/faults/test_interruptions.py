"""Servers go down and come back, uploads break off: nothing that was accepted is lost, nothing else stays."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from ragsite.layout import PROJECT_DIR, Layout
from tests.faults.conftest import LLM_PORT
from tests.instance import Instance, until
from tests.torture.files import make_file
from tests.torture.people import Person

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("interruptions"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
MEGABYTES = 30


def stored(site: Instance) -> set[str]:
    """All that uploads leave in the data folder."""
    layout = Layout(site.folder)
    return {str(path) for folder in (layout.files_dir, layout.uploads_dir) for path in folder.rglob("*")}


def documents(client: httpx.Client) -> int:
    return len(client.get("/api/v1/documents?page_size=100").raise_for_status().json()["results"])


@contextmanager
def half_sent(site: Instance, token: str) -> Iterator[socket.socket]:
    """An upload of which half has arrived."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="half.txt"\r\n\r\n'
    head = (
        f"POST /api/v1/documents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {2 * MEGABYTES << 20}\r\n\r\n"
    )
    before = stored(site)
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(head.encode() + part + b"half " * (MEGABYTES << 18))
        assert until(lambda: stored(site) > before), "nothing of the upload has arrived"
        yield connection


def test_an_upload_whose_sender_goes_away_leaves_no_row_no_file_and_no_temporary_file(
    site: Instance, client: httpx.Client, token: str
) -> None:
    before, count = stored(site), documents(client)
    with half_sent(site, token):
        pass
    assert until(lambda: stored(site) == before), stored(site) - before
    assert documents(client) == count


def test_an_upload_whose_process_is_killed_leaves_what_the_sweep_removes(
    site: Instance, client: httpx.Client, token: str
) -> None:
    before, count = stored(site), documents(client)
    with half_sent(site, token):
        os.kill(site.pid_of("web"), signal.SIGKILL)
        assert until(lambda: site.status("/healthz") == 200)
    sweep = "from tests.torture.audit import sweep_at_once as sweep; print(sweep())"
    done = site.manage("shell", "-v0", "-c", sweep)
    assert (done.stdout, stored(site), documents(client)) == ("1\n", before, count), done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
@pytest.mark.parametrize("server", ["postgres", "valkey", "web"])
def test_uploads_that_arrive_while_a_server_restarts_are_all_there_once(
    site: Instance, token: str, server: str, number: signal.Signals
) -> None:
    url = f"http://127.0.0.1:{site.port}"
    people = [Person(url, token, random.Random(f"{server}{number}{n}"), threading.Event()) for n in range(2)]
    before = set(people[0].listed())

    def upload(person: Person) -> None:
        for _ in range(6):
            person.send(make_file(person.chance))

    threads = [threading.Thread(target=upload, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    assert until(lambda: site.pid_of(server))
    os.kill(site.pid_of(server), number)
    for thread in threads:
        thread.join()
    accepted = {identifier for person in people for identifier in person.ledger.documents}
    assert set(people[0].listed()) - before == accepted - before
    assert [wrong for person in people for wrong in person.wrong] == []


def test_all_of_them_are_processed_in_the_end(site: Instance, token: str) -> None:
    person = Person(f"http://127.0.0.1:{site.port}", token, random.Random(0), threading.Event())

    def in_work() -> list[str]:
        return [
            entry["filename"] for entry in person.listed().values() if entry["status"] not in {"processed", "failed"}
        ]

    assert until(lambda: not in_work(), seconds=500), in_work()
    failed = [entry["error"] for entry in person.listed().values() if entry["error"]]
    assert [error for error in failed if error["retryable"]] == []


@contextmanager
def language_model() -> Iterator[None]:
    command = [sys.executable, "-m", "tests.load.mock_model", "--port", str(LLM_PORT), "--first", "10", "--delay", "2"]
    with subprocess.Popen(command, cwd=PROJECT_DIR) as process:
        try:
            assert until(lambda: not socket.socket().connect_ex(("127.0.0.1", LLM_PORT)))
            yield
        finally:
            process.kill()


def test_a_language_model_that_is_away_is_told_and_used_again_when_it_is_back(client: httpx.Client) -> None:
    conversation = client.post("/api/v1/conversations", json={}).json()["id"]
    path = f"/api/v1/conversations/{conversation}/messages"
    answers = []
    for is_there in (True, False, True):
        if is_there:
            with language_model():
                answers.append(client.post(path, json={"content": "Who keeps the bridge?"}))
        else:
            answers.append(client.post(path, json={"content": "Who keeps the bridge?"}))
    assert [answer.status_code for answer in answers] == [201, 502, 201]
    assert answers[1].json()["detail"]
