"""What a system must be able to do to be put under load. An adapter says how, over any transport.

The generator's transport is gevent's, that of the tests is Django's client: an adapter knows neither.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

PROCESSED, FAILED = "processed", "failed"


@dataclass(frozen=True)
class Account:
    """Somebody who has an account: a token for programs, and a session's cookie for pages."""

    name: str
    token: str
    cookie: str = ""


class Reply(Protocol):
    """An answer of the server whose body may still be on its way."""

    status: int

    def header(self, name: str) -> str: ...

    def body(self) -> bytes: ...

    def frames(self) -> Iterator[bytes]:
        """The parts of an event stream, each up to its blank line, as they arrive."""

    def abandon(self) -> None:
        """Hang up in the middle."""


class Transport(Protocol):
    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Reply: ...


class Refused(Exception):
    """The server answered with an error; ``kind`` is short enough to be counted by."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind} {detail}".strip())
        self.kind = kind


@dataclass(frozen=True)
class Event:
    """Something in an answer that arrives: ``token``, ``done``, or another name of the system's own."""

    name: str
    number: str = ""
    """What a reader names who comes back."""
    cached: bool = False
    by_model: bool = True
    """Whether the language model wrote it: not a cache, and not the system's own knowledge of its library."""
    message: str = ""
    """The id of the answer, where the event tells it."""
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where a document is. Seconds from its upload until it was processed, and of each stage."""

    status: str
    seconds: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def over(self) -> bool:
        return self.status in (PROCESSED, FAILED)


class System(Protocol):
    """Signing in, uploading, waiting, asking."""

    name: str

    def sign_in(self, account: Account) -> "Session": ...


class Session(Protocol):
    """One account's use of a system."""

    def upload(self, transport: Transport, filename: str, data: bytes) -> str:
        """The document's id."""

    def progress(self, transport: Transport, document: str) -> Progress: ...

    def begin(self, transport: Transport) -> Any:
        """A new conversation."""

    def ask(
        self, transport: Transport, conversation: Any, question: str, *, streamed: bool = True, fresh: bool = False
    ) -> Iterator[Event]:
        """The events of the answer as they arrive; the last is ``done``. Raises Refused."""


def wait(session: Session, transport: Transport, document: str, pause: Callable[[], object], tries: int) -> Progress:
    """Look again after each pause until the document is processed or has failed. Raises TimeoutError."""
    for _ in range(tries):
        progress = session.progress(transport, document)
        if progress.over:
            return progress
        pause()
    raise TimeoutError(f"{document} is still {progress.status}")


def multipart(fields: dict[str, str], filename: str, data: bytes) -> tuple[bytes, str]:
    """A form with one file: the body and its content type."""
    boundary = "load-harness-7d1f0c2e"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = "".join(parts).encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
