"""A model's server for tests and loads: OpenAI's streaming format with settable times, from one clock.

    python -m tests.load.mock_model --port 9100 --first 300 --delay 20 --tokens 60

One timer serves all streams: at each beat it writes to every stream the tokens that are due, so that a thousand streams
cost a part of a core. What goes wrong is chosen by the path (``http://host:port/cut/v1`` as base URL) or by a word in
the last message (``mock:cut``):

refuse  closes the connection without a word       500    answers with a server's error
400     answers that the context is too long       cut    breaks off in the middle of the answer
hang    takes the question and never answers       slow   answers with five times the delays
error   sends an error within the stream           echo   answers with the messages that it was sent
stall   falls silent in the middle of the answer   bad    sends what is not JSON
"""

import argparse
import asyncio
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

MODES = ("refuse", "500", "400", "cut", "hang", "slow", "error", "echo", "stall", "bad")
Reply = str | Callable[[dict], str]
"""What the model says, or what it makes of a request."""
SENTENCE = "The passages say so [1] and more [2]. "


@dataclass(frozen=True)
class Times:
    """Milliseconds and counts of an answer."""

    first: float = 300
    delay: float = 20
    tokens: int = 60
    beat: float = 20

    def slowed(self, factor: float) -> "Times":
        return replace(self, first=self.first * factor, delay=self.delay * factor)


@dataclass
class Stream:
    """An answer on its way to one client."""

    connection: "Connection"
    tokens: list[str]
    first_at: float
    delay: float
    cut_at: int | None = None
    ending: str = ""
    prompt_tokens: int = 0
    sent: int = 0

    def due(self, now: float) -> int:
        if now < self.first_at:
            return 0
        wanted = int((now - self.first_at) / self.delay) + 1 if self.delay else len(self.tokens)
        return min(wanted, len(self.tokens) if self.cut_at is None else self.cut_at)

    def beat(self, now: float) -> bool:
        """Write what is due; whether the stream is over."""
        due = self.due(now)
        if due > self.sent:
            self.connection.send(b"".join(event(chunk(token)) for token in self.tokens[self.sent : due]))
            self.sent = due
        if self.cut_at is not None and self.sent >= self.cut_at:
            return self._break()
        if self.sent < len(self.tokens):
            return False
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": len(self.tokens)}
        self.connection.send(event(chunk(None)) + event({"choices": [], "usage": usage}) + b"e\r\ndata: [DONE]\n\n\r\n")
        self.connection.finish()
        return True

    def _break(self) -> bool:
        if self.ending == "error":
            self.connection.send(event({"error": {"message": "the model has crashed"}}))
            self.connection.finish()
        elif self.ending == "bad":
            self.connection.send(b"f\r\ndata: {no json\n\r\n")
        elif self.ending == "cut":
            self.connection.transport.abort()
        return True


def chunk(content: str | None) -> dict[str, object]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if content is None else None}
    return {"id": "mock", "object": "chat.completion.chunk", "model": "mock", "choices": [choice]}


def event(data: dict[str, object]) -> bytes:
    """One event of a stream as one chunk of HTTP."""
    body = b"data: " + json.dumps(data).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


@dataclass
class Server:
    """All streams and the clock; ``requests`` and ``closed`` let tests see what came and which clients went away."""

    times: Times = Times()
    reply: Reply | None = None
    streams: list[Stream] = field(default_factory=list)
    requests: list[dict] = field(default_factory=list)
    closed: int = 0
    port: int = 0

    async def run(self, host: str = "127.0.0.1", port: int = 0, ready: threading.Event | None = None) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self), host, port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        if ready:
            ready.set()
        async with server:
            while True:
                await asyncio.sleep(self.times.beat / 1000)
                now = time.monotonic()
                self.streams = [s for s in self.streams if not s.connection.transport.is_closing() and not s.beat(now)]

    def answer(self, connection: "Connection", body: dict, mode: str) -> None:
        self.requests.append(body)
        del self.requests[:-1000]
        times = self.times.slowed(5) if mode == "slow" else self.times
        tokens = self._tokens(body, mode)
        stream = Stream(connection, tokens, time.monotonic() + times.first / 1000, times.delay / 1000, ending=mode)
        stream.prompt_tokens = len(json.dumps(body.get("messages", []))) // 4
        if mode in ("cut", "error", "stall", "bad"):
            stream.cut_at = len(tokens) // 2
        connection.open_stream()
        self.streams.append(stream)

    def _tokens(self, body: dict, mode: str) -> list[str]:
        if mode == "echo":
            return [json.dumps(body["messages"], ensure_ascii=False)]
        if self.reply is not None:
            return re.findall(r"\s*\S+", self.reply(body) if callable(self.reply) else self.reply)
        words = itertools.cycle(re.findall(r"\S+\s*", SENTENCE))
        return list(itertools.islice(words, self.times.tokens))


class Connection(asyncio.Protocol):
    """One client; requests one after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self.server.closed += self.streaming

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        found = re.search(rb"content-length: *(\d+)", head, re.I)
        length = int(found[1]) if found else 0
        if len(rest) >= length:
            self.buffer = rest[length:]
            self._respond(head.split(b" ")[1].decode(), rest[:length])

    def _respond(self, path: str, body: bytes) -> None:
        if path.endswith("/models"):
            self._send_json(200, {"object": "list", "data": [{"id": "mock", "object": "model"}]})
            return
        if not path.endswith("/chat/completions"):
            self._send_json(404, {"error": {"message": f"There is nothing at {path}."}})
            return
        request = json.loads(body)
        mode = mode_of(path, request)
        if mode == "refuse":
            self.transport.abort()
        elif mode == "500":
            self._send_json(500, {"error": {"message": "out of memory"}})
        elif mode == "400":
            message = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."
            self._send_json(400, {"error": {"message": message, "code": "context_length_exceeded"}})
        elif mode != "hang":
            self.server.answer(self, request, mode)

    def _send_json(self, status: int, data: dict) -> None:
        body = json.dumps(data).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def open_stream(self) -> None:
        self.streaming = True
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def finish(self) -> None:
        self.streaming = False
        self.send(b"0\r\n\r\n")


def mode_of(path: str, request: dict) -> str:
    """What is to go wrong, by the path or by a word in the last message."""
    first = path.strip("/").split("/")[0]
    if first in MODES:
        return first
    messages = request.get("messages") or [{}]
    asked = re.search(r"mock:(\w+)", str(messages[-1].get("content", "")).rpartition("Question:")[2])
    return asked[1] if asked and asked[1] in MODES else ""


@contextmanager
def running_mock(
    times: Times = Times(first=20, delay=2, tokens=12, beat=2), reply: Reply | None = None
) -> Iterator[Server]:
    """The server in a thread of this process."""
    server, ready, loop = Server(times, reply), threading.Event(), asyncio.new_event_loop()

    def serve() -> None:
        task = loop.create_task(server.run(ready=ready))
        loop.stop_it = task.cancel  # type: ignore[attr-defined]
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop_it)  # type: ignore[attr-defined]
        thread.join(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--first", type=float, default=300, help="milliseconds to the first token")
    parser.add_argument("--delay", type=float, default=20, help="milliseconds between tokens")
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--beat", type=float, default=20, help="milliseconds between two looks at the clock")
    given = parser.parse_args()
    server = Server(Times(given.first, given.delay, given.tokens, given.beat))
    print(f"http://{given.host}:{given.port}/v1", flush=True)
    asyncio.run(server.run(given.host, given.port))


if __name__ == "__main__":
    main()
