"""Our own site, over its REST API and its pages."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.load.harness.systems.base import (
    PROCESSED,
    Account,
    Event,
    Progress,
    Refused,
    Reply,
    Transport,
    multipart,
)

MOST_ETAGS = 100
TOLD_IN_FULL = ("done", "error", "status")
"""Only these events are parsed; of the others the name is enough."""


class Ragsite:
    name = "ragsite"

    def sign_in(self, account: Account) -> "RagsiteSession":
        return RagsiteSession(account)


class RagsiteSession:
    """With the account's token; pages with its cookie."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.headers = {"Authorization": f"Bearer {account.token}"}
        self.etags: dict[str, str] = {}
        """As a browser keeps them: by path, of what was read last."""
        self.not_modified = False

    def upload(self, transport: Transport, filename: str, data: bytes) -> str:
        body, content_type = multipart({}, filename, data)
        reply = transport.send("POST", "/api/v1/documents", {**self.headers, "Content-Type": content_type}, body)
        identifier: str = read_json(reply)["id"]
        return identifier

    def progress(self, transport: Transport, document: str) -> Progress:
        return progress_of(self.get(transport, f"/api/v1/documents/{document}"))

    def begin(self, transport: Transport) -> Any:
        return self.post(transport, "/api/v1/conversations", {})["id"]

    def ask(
        self, transport: Transport, conversation: Any, question: str, *, streamed: bool = True, fresh: bool = False
    ) -> Iterator[Event]:
        if streamed:
            yield from events(self.opened(transport, conversation, question, fresh=fresh))
        else:
            path, body = _question(conversation, question, fresh)
            yield _done(self.post(transport, path, body))

    def opened(self, transport: Transport, conversation: Any, question: str, *, fresh: bool) -> Reply:
        """The answer's stream, of which nothing has been read."""
        path, body = _question(conversation, question, fresh)
        headers = {**self.headers, "Accept": "text/event-stream", "Content-Type": "application/json"}
        return transport.send("POST", path, headers, json.dumps(body).encode())

    def resume(self, transport: Transport, message: str, after: str) -> Iterator[Event]:
        """Go on reading behind this event."""
        headers = {**self.headers, "Accept": "text/event-stream", "Last-Event-ID": after}
        yield from events(transport.send("GET", f"/api/v1/messages/{message}/events", headers))

    def get(self, transport: Transport, path: str) -> Any:
        return read_json(transport.send("GET", path, self.headers))

    def read_again(self, transport: Transport, path: str) -> Any:
        """As one who keeps what was read: None when the server says that it has not changed."""
        reply = self._revalidated(transport, path, self.headers)
        if self.not_modified:
            reply.body()
            return None
        return read_json(reply)

    def _revalidated(self, transport: Transport, path: str, headers: dict[str, str]) -> Reply:
        known = {"If-None-Match": self.etags[path]} if path in self.etags else {}
        reply = transport.send("GET", path, {**headers, **known})
        self.not_modified = reply.status == 304
        if not self.not_modified and (etag := reply.header("etag")):
            self._remember(path, etag)
        return reply

    def _remember(self, path: str, etag: str) -> None:
        self.etags[path] = etag
        if len(self.etags) > MOST_ETAGS:
            del self.etags[next(iter(self.etags))]

    def post(self, transport: Transport, path: str, data: dict[str, Any]) -> Any:
        headers = {**self.headers, "Content-Type": "application/json"}
        return read_json(transport.send("POST", path, headers, json.dumps(data).encode()))

    def page(self, transport: Transport, path: str) -> int:
        """A page as the browser asks for it; its size."""
        reply = self._revalidated(transport, path, {"Cookie": self.account.cookie, "Accept": "text/html"})
        size = len(reply.body())
        if reply.status not in (200, 304):
            raise Refused(str(reply.status), reply.header("location"))
        return size


def _question(conversation: Any, question: str, fresh: bool) -> tuple[str, dict[str, Any]]:
    """Where it is sent, and what."""
    body = {"content": question, **({"fresh": True} if fresh else {})}
    return f"/api/v1/conversations/{conversation}/messages", body


def read_json(reply: Reply) -> Any:
    """The body. Raises Refused with the problem's code."""
    body = reply.body()
    if reply.status >= 400:
        raise Refused(*_problem(reply.status, body))
    return json.loads(body)


def _problem(status: int, body: bytes) -> tuple[str, str]:
    try:
        problem = json.loads(body)
        return f"{status} {problem.get('code', '')}".strip(), str(problem.get("detail", ""))
    except ValueError:
        return str(status), body[:200].decode(errors="replace")


def events(reply: Reply) -> Iterator[Event]:
    """Those of a stream, up to its end. Raises Refused when it tells of an error or breaks off."""
    if reply.status != 200:
        raise Refused(*_problem(reply.status, reply.body()))
    name = ""
    for frame in reply.frames():
        event = event_of(frame)
        if event is None:
            continue
        name = event.name
        yield event
        if name == "done":
            reply.body()  # what ends the stream, so that the connection can be used again
            return
    raise Refused(f"stream broke off after {name or 'nothing'}")


def event_of(frame: bytes) -> Event | None:
    """``id: N``, ``event: NAME``, ``data: {…}``; None for a comment."""
    lines = frame.split(b"\n", 2)
    if len(lines) < 3 or not lines[0].startswith(b"id: "):
        return None
    number, name = lines[0][4:].decode(), lines[1][7:].decode()
    if name not in TOLD_IN_FULL:
        return Event(name, number)
    data = json.loads(lines[2].strip()[6:])
    if name == "error":
        raise Refused(f"error event {data.get('code', '')}", str(data.get("detail", "")))
    if name == "done":
        return _done(data["message"], number)
    return Event(name, number, message=data.get("message") or "")


def _done(message: dict[str, Any], number: str = "") -> Event:
    if message["status"] != "complete":
        raise Refused(f"answer {message['status']}", str(message.get("error")))
    timings = {name: float(seconds) for name, seconds in message.get("timings", {}).items()}
    cached = bool(message["cached"])
    by_model = bool(message["model"]) and not cached
    return Event("done", number, cached, by_model, message["id"], timings)


def progress_of(document: dict[str, Any]) -> Progress:
    seconds = None
    if document["status"] == PROCESSED and document["processed_at"]:
        ended, began = (datetime.fromisoformat(document[name]) for name in ("processed_at", "uploaded_at"))
        seconds = (ended - began).total_seconds()
    error = document["error"]["code"] if document["error"] else ""
    return Progress(document["status"], seconds, document["stage_seconds"], error)
