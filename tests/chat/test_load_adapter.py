"""The load harness signs in, uploads, waits, asks and comes back through our real API."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client

from processing import pipeline
from ragsite.accounts.models import ApiToken, User
from tests.fakes import FakeEncoder
from tests.load.harness.systems.base import Account, Refused, wait
from tests.load.harness.systems.ragsite import Ragsite, RagsiteSession, event_of
from tests.load.mock_model import Server


class ClientReply:
    def __init__(self, response: object) -> None:
        self.response = response
        self.status: int = response.status_code

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "")

    def body(self) -> bytes:
        return b"".join(self.response.streaming_content) if self.response.streaming else self.response.content

    def frames(self) -> Iterator[bytes]:
        yield from (bytes(frame) + b"\n\n" for frame in self.body().split(b"\n\n") if frame)

    def abandon(self) -> None:
        self.response.close()


class ClientTransport:
    """Django's test client."""

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> ClientReply:
        content_type = headers.get("Content-Type", "application/octet-stream")
        return ClientReply(Client(headers=headers).generic(method, path, body, content_type))


@pytest.fixture
def session(owner: User) -> RagsiteSession:
    _, token = ApiToken.issue(owner=owner, name="load")
    return Ragsite().sign_in(Account("owner", token))


@pytest.fixture
def transport() -> ClientTransport:
    return ClientTransport()


def test_an_upload_is_waited_for_and_has_times_by_stage(
    session: RagsiteSession, transport: ClientTransport, fake_encoder: FakeEncoder, sandbox_service: Path
) -> None:
    document = session.upload(transport, "note.txt", b"The harbour has four cranes.")
    assert not session.progress(transport, document).over
    progress = wait(session, transport, document, pause=pipeline.process_next, tries=5)
    assert progress.status == "processed"
    assert progress.seconds is not None
    assert {"extracting", "embedding"} <= progress.stages.keys()
    with pytest.raises(TimeoutError):
        wait(session, transport, session.upload(transport, "b.txt", b"More words."), pause=lambda: None, tries=2)


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_ends_with_its_times(
    session: RagsiteSession, transport: ClientTransport, library: object, model: Server, streamed: bool
) -> None:
    conversation = session.begin(transport)
    events = list(session.ask(transport, conversation, "What is the Rhine?", streamed=streamed, fresh=True))
    assert events[-1].name == "done"
    assert not events[-1].cached
    assert events[-1].by_model
    assert events[-1].timings
    assert any(event.name == "token" for event in events) == streamed


def test_who_comes_back_reads_on_behind_the_last_event(
    session: RagsiteSession, transport: ClientTransport, library: object, model: Server
) -> None:
    reading = list(session.ask(transport, session.begin(transport), "What is the Rhine?"))
    middle = reading[len(reading) // 2]
    rest = list(session.resume(transport, reading[0].message, middle.number))
    assert [event.number for event in rest] == [
        event.number for event in reading if int(event.number) > int(middle.number)
    ]


def test_refusals_have_a_kind_to_be_counted_by(
    session: RagsiteSession, transport: ClientTransport, api: Callable[..., object]
) -> None:
    with pytest.raises(Refused) as refused:
        session.get(transport, "/api/v1/documents/00000000-0000-7000-8000-000000000000")
    assert refused.value.kind.startswith("404")
    with pytest.raises(Refused, match="error event model_timeout"):
        event_of(b'id: 3\nevent: error\ndata: {"code": "model_timeout", "detail": "too late"}\n\n')
    assert event_of(b": heartbeat\n\n") is None
