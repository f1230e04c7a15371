"""What the tests of answers share: a small library, a model's server, answers that have come to their end."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from chat import seats
from chat.answers import streams
from chat.answers.board import board
from chat.answers.events import Event
from documents.models import Document
from ragsite.accounts.models import User
from tests.load.mock_model import Server, Times, running_mock

RHINE = """# The Rhine

The Rhine rises in the canton of Graubünden. It is 1,230 kilometres long and flows through Basel.

Ships carry coal and ore on it. “Vater Rhein” is what Germans call the river 🌊.
"""
TOWER = """# The tower

The tower of Pisa leans because the ground under it is soft. Its bells weigh ten tonnes.
"""
QUESTION = "What is long and flows through Basel?"

valkey = streams.redis
"""The real one, also where a test takes it away."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Answers are produced by threads with connections of their own: what they need has to be committed.

    A module without answers says ``pytestmark = pytest.mark.django_db`` and is quicker.
    """
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("django_db") is None:
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(autouse=True)
def _answers_end(db: None) -> Iterator[None]:
    """They end before the database is emptied."""
    yield
    deadline = time.monotonic() + 20
    while len(board()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not len(board()), "an answer is still running"
    valkey().delete(streams.stops_key())


@pytest.fixture(autouse=True)
def _empty_seats() -> None:
    """Streams that a test before left unread and open keep no seat from this one."""
    seats._taken.clear()


@pytest.fixture
def library(owner: User, processed: Callable[..., Document]) -> dict[str, Document]:
    return {"rhine": processed(owner, RHINE, "rhine.md"), "tower": processed(owner, TOWER, "tower.md")}


@pytest.fixture
def model(settings: LazySettings) -> Iterator[Server]:
    """A language model is configured; ``use(settings, server, mode)`` makes it misbehave."""
    with running_mock() as server:
        use(settings, server)
        yield server


def use(settings: LazySettings, server: Server, mode: str = "") -> None:
    """Answer with this server, in one of its modes."""
    prefix = f"/{mode}" if mode else ""
    settings.LLM_BASE_URL = f"http://127.0.0.1:{server.port}{prefix}/v1"
    settings.LLM_MODEL = "mock"


@pytest.fixture
def slow_model(settings: LazySettings) -> Iterator[Server]:
    """A model that takes seconds, so that there is time to do something to the answer."""
    with running_mock(Times(first=100, delay=50, tokens=200, beat=10)) as server:
        use(settings, server)
        yield server


def new_conversation(client: APIClient, **values: Any) -> str:
    response = client.post("/api/v1/conversations", values)
    assert response.status_code == 201, response.content
    identifier: str = response.json()["id"]
    return identifier


def ask(client: APIClient, conversation: str, content: str = QUESTION, **values: Any) -> Any:
    """The answer as JSON, once it is done."""
    return client.post(f"/api/v1/conversations/{conversation}/messages", {"content": content, **values})


def ask_streamed(client: APIClient, conversation: str, content: str = QUESTION, **headers: str) -> Any:
    path = f"/api/v1/conversations/{conversation}/messages"
    response = client.post(path, {"content": content}, HTTP_ACCEPT="text/event-stream", **headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/event-stream"
    return response


class Frames:
    """The events of a streamed response, one by one."""

    def __init__(self, response: Any) -> None:
        self._pieces = iter(response.streaming_content)
        self._waiting: list[Event] = []

    def __iter__(self) -> "Frames":
        return self

    def __next__(self) -> Event:
        while not self._waiting:
            self._waiting = parse_frames(next(self._pieces).decode())
        return self._waiting.pop(0)

    def until(self, name: str) -> Event:
        return next(event for event in self if event.name == name)


def parse_frames(text: str) -> list[Event]:
    """The frames of a piece of a stream; anything that is no frame or comment fails."""
    assert text.endswith("\n\n")
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        number, name, data = block.split("\n")
        assert number.startswith("id: ")
        assert name.startswith("event: ")
        assert data.startswith("data: {")
        found.append(Event(int(number[4:]), name[7:], data[6:]))
        json.loads(data[6:])
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found
