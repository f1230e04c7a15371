"""A model's server for tests and loads: OpenAI's streaming format with settable times, from one clock.

    python -m tests.load.mock_model --port 9100 --first 300 --delay 20 --tokens 60 --failures 0.01

One clock serves all streams: at each beat it looks only at the streams that have a token due, whose bytes were made
before, so that a thousand streams cost a part of a core (`python -m tests.load.mock_cost`). `GET /stats` says what it
has done and how late it was against its own times. What goes wrong is chosen by the path
(``http://host:port/cut/v1`` as base URL) or by a word in the last message (``mock:cut``):

refuse  closes the connection without a word       500    answers with a server's error
400     answers that the context is too long       cut    breaks off in the middle of the answer
hang    takes the question and never answers       slow   answers with five times the delays
error   sends an error within the stream           echo   answers with the messages that it was sent
stall   falls silent in the middle of the answer   bad    sends what is not JSON
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import resource
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

MODES = ("refuse", "500", "400", "cut", "hang", "slow", "error", "echo", "stall", "bad")
FAILURES = ("500", "cut", "error")
"""What a share of the answers fails with, in turn."""
Reply = str | Callable[[dict], str]
"""What the model says, or what it makes of a request."""
FOLLOW_UP = "Last question: "
SENTENCE = "The passages say so [1] and more [2]. "
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
REMEMBERED = 1000
MEASURED = 50_000


@dataclass(frozen=True)
class Times:
    """Milliseconds and counts of an answer."""

    first: float = 300
    delay: float = 20
    tokens: int = 60
    beat: float = 5

    @property
    def whole(self) -> float:
        """Milliseconds from the question to the last token."""
        return self.first + self.delay * (self.tokens - 1)

    def slowed(self, factor: float) -> "Times":
        return replace(self, first=self.first * factor, delay=self.delay * factor)


@dataclass
class Stream:
    """An answer on its way to one client."""

    connection: "Connection"
    tokens: Sequence[bytes]
    first_at: float
    delay: float
    cut_at: int | None = None
    ending: str = ""
    prompt_tokens: int = 0
    sent: int = 0
    whole: dict[str, object] | None = None
    """The answer as one piece, for a client that does not want a stream."""

    def due(self, now: float) -> int:
        if now < self.first_at:
            return 0
        wanted = int((now - self.first_at) / self.delay) + 1 if self.delay else len(self.tokens)
        return min(wanted, len(self.tokens) if self.cut_at is None else self.cut_at)

    def next_at(self) -> float:
        """When there is something to write again."""
        return self.first_at + self.sent * self.delay

    def beat(self, now: float) -> bool:
        """Write what is due; whether the stream is over."""
        due = self.due(now)
        if due > self.sent:
            if self.whole is None:
                self.connection.send(b"".join(self.tokens[self.sent : due]))
            self.sent = due
        if self.cut_at is not None and self.sent >= self.cut_at:
            return self._break()
        if self.sent < len(self.tokens):
            return False
        self._finish()
        return True

    def _finish(self) -> None:
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": len(self.tokens)}
        if self.whole is not None:
            self.connection.streaming = False
            self.connection.send_json(200, {**self.whole, "usage": usage})
            return
        self.connection.send(event(chunk(None)) + event({"choices": [], "usage": usage}) + DONE)
        self.connection.finish()

    def _break(self) -> bool:
        if self.whole is not None:
            self.connection.transport.abort()
        elif self.ending == "error":
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


def completion(content: str) -> dict[str, object]:
    """The whole answer, without its usage."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"id": "mock", "object": "chat.completion", "model": "mock", "choices": [choice]}


def event(data: dict[str, object]) -> bytes:
    """One event of a stream as one chunk of HTTP."""
    body = b"data: " + json.dumps(data).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


@cache
def usual_words(count: int) -> tuple[str, ...]:
    words = itertools.cycle(re.findall(r"\S+\s*", SENTENCE))
    return tuple(itertools.islice(words, count))


@cache
def usual_tokens(count: int) -> tuple[bytes, ...]:
    """The events of the usual answer, made once."""
    return tuple(event(chunk(word)) for word in usual_words(count))


@dataclass
class Stats:
    """What the server has done since it was last asked to begin anew."""

    requests: int = 0
    answers: int = 0
    failed_as_told: int = 0
    open: int = 0
    most_open: int = 0
    late: deque[float] = field(default_factory=lambda: deque(maxlen=MEASURED))
    """Milliseconds by which first tokens were written after their time."""

    def as_json(self) -> dict[str, object]:
        late = sorted(self.late) or [0.0]
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "requests": self.requests,
            "answers": self.answers,
            "failed_as_told": self.failed_as_told,
            "open": self.open,
            "most_open": self.most_open,
            "late_ms": {"p50": late[(len(late) - 1) // 2], "p95": late[int(0.95 * (len(late) - 1))], "most": late[-1]},
            "cpu_seconds": used.ru_utime + used.ru_stime,
        }


@dataclass
class Server:
    """All streams and the clock; ``requests`` and ``closed`` let tests see what came and which clients went away."""

    times: Times = Times()
    reply: Reply | None = None
    failures: float = 0.0
    requests: list[dict] = field(default_factory=list)
    closed: int = 0
    port: int = 0
    stats: Stats = field(default_factory=Stats)
    wheel: dict[int, list[Stream]] = field(default_factory=lambda: defaultdict(list))
    """The streams that have something due, by beats since the clock began."""
    failing: float = 0.0

    async def run(self, host: str = "127.0.0.1", port: int = 0, ready: threading.Event | None = None) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self), host, port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        if ready:
            ready.set()
        async with server:
            await self._tick()

    async def _tick(self) -> None:
        beat = self.times.beat / 1000
        past = self._beat_of(time.monotonic())
        while True:
            now = time.monotonic()
            await asyncio.sleep((int(now / beat) + 1) * beat - now)
            present = int(time.monotonic() / beat)
            for number in range(past, present + 1):
                self._serve(self.wheel.pop(number, ()))
            past = present + 1

    def _beat_of(self, moment: float) -> int:
        """The first beat that is not before this moment."""
        return -int(-moment // (self.times.beat / 1000))

    def _serve(self, streams: Sequence[Stream]) -> None:
        now = time.monotonic()
        for stream in streams:
            if stream.connection.transport.is_closing():
                self.stats.open -= 1
                continue
            if not stream.sent:
                self.stats.late.append((now - stream.first_at) * 1000)
            if stream.beat(now):
                self.stats.open -= 1
                self.stats.answers += stream.cut_at is None
            else:
                self._schedule(stream)

    def _schedule(self, stream: Stream) -> None:
        """At its next token, and never in a beat that has been."""
        earliest = int(time.monotonic() / (self.times.beat / 1000)) + 1
        self.wheel[max(self._beat_of(stream.next_at()), earliest)].append(stream)

    def told_to_fail(self) -> str:
        """A mode for the share that is to fail, spread evenly over the requests."""
        self.failing += self.failures
        if self.failing < 1:
            return ""
        self.failing -= 1
        self.stats.failed_as_told += 1
        return FAILURES[self.stats.failed_as_told % len(FAILURES)]

    def hurry(self) -> None:
        """Answers that are on their way end with their next token; other threads may call this."""
        for stream in itertools.chain.from_iterable(list(self.wheel.values())):
            stream.delay = 0

    def answer(self, connection: "Connection", body: dict, mode: str, size: int) -> None:
        self.requests.append(body)
        if len(self.requests) > 2 * REMEMBERED:
            del self.requests[:-REMEMBERED]
        times = self.times.slowed(5) if mode == "slow" else self.times
        words = self._words(body, mode)
        usual = words is usual_words(self.times.tokens)
        tokens = usual_tokens(len(words)) if usual else [event(chunk(word)) for word in words]
        stream = Stream(connection, tokens, time.monotonic() + times.first / 1000, times.delay / 1000, ending=mode)
        stream.prompt_tokens = size // 4
        if mode in ("cut", "error", "stall", "bad"):
            stream.cut_at = len(tokens) // 2
        if body.get("stream", True):
            connection.open_stream()
        else:
            connection.streaming = True
            stream.whole = completion("".join(words))
        self._begin(stream)

    def _begin(self, stream: Stream) -> None:
        self.stats.open += 1
        self.stats.most_open = max(self.stats.most_open, self.stats.open)
        self._schedule(stream)

    def _words(self, body: dict, mode: str) -> Sequence[str]:
        if mode == "echo":
            return [json.dumps(body["messages"], ensure_ascii=False)]
        if self.reply is not None:
            return re.findall(r"\s*\S+", self.reply(body) if callable(self.reply) else self.reply)
        if asked := follow_up_in(body):
            return re.findall(r"\s*\S+", asked)[: self.times.tokens]
        return usual_words(self.times.tokens)


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
        if path.endswith("/chat/completions"):
            self._complete(path, body)
        elif path.endswith("/models"):
            self.send_json(200, {"object": "list", "data": [{"id": "mock", "object": "model"}]})
        elif path == "/stats":
            self.send_json(200, self.server.stats.as_json())
        elif path == "/stats/reset":
            self.server.stats = Stats(open=self.server.stats.open)
            self.send_json(200, {})
        else:
            self.send_json(404, {"error": {"message": f"There is nothing at {path}."}})

    def _complete(self, path: str, body: bytes) -> None:
        request = json.loads(body)
        self.server.stats.requests += 1
        mode = mode_of(path, request) or self.server.told_to_fail()
        if mode == "refuse":
            self.transport.abort()
        elif mode == "500":
            self.send_json(500, {"error": {"message": "out of memory"}})
        elif mode == "400":
            message = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."
            self.send_json(400, {"error": {"message": message, "code": "context_length_exceeded"}})
        elif mode != "hang":
            self.server.answer(self, request, mode, len(body))

    def send_json(self, status: int, data: dict) -> None:
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


def follow_up_in(body: dict) -> str:
    """A question that the site asks to have made self-contained: a model says about as much as was asked."""
    messages = body.get("messages") or [{}]
    _, found, asked = str(messages[-1].get("content", "")).rpartition(FOLLOW_UP)
    return asked if found else ""


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
    parser.add_argument("--beat", type=float, default=5, help="milliseconds between two looks at the clock")
    parser.add_argument("--failures", type=float, default=0.0, help="the share of answers that fail, 0 to 1")
    given = parser.parse_args()
    server = Server(Times(given.first, given.delay, given.tokens, given.beat), failures=given.failures)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_and_tell(server, given.host, given.port))


async def _serve_and_tell(server: Server, host: str, port: int) -> None:
    """The address on the first line, once it listens; ends quietly at SIGTERM."""
    ready = threading.Event()
    task = asyncio.create_task(server.run(host, port, ready))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    while not ready.is_set():
        await asyncio.sleep(0)
    print(f"http://{host}:{server.port}/v1", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()
