"""Many answers streaming at once through the real site.

    python -m tests.load.answers URL TOKEN --count 300
    make bench-answers

Says how many finished, how long they took, and how many connections PostgreSQL had at most. `make load` (docs/) is the
whole service level; this is the question whether a crowd gets through at all.
"""

import argparse
import asyncio
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg2

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@dataclass
class Result:
    """Seconds are from sending the question."""

    first_event: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    most_connections: int = 0
    wall: float = 0.0

    @property
    def finished(self) -> int:
        return len(self.whole)

    def report(self) -> str:
        lines = [f"{self.finished} finished, {len(self.errors)} failed, in {self.wall:.1f} s"]
        for name in ("first_event", "first_token", "whole"):
            values = sorted(getattr(self, name))
            if values:
                p95 = values[int(0.95 * (len(values) - 1))]
                lines.append(
                    f"{name:12} p50 {statistics.median(values):.3f} s  p95 {p95:.3f} s  max {values[-1]:.3f} s"
                )
        lines.append(f"PostgreSQL connections, at most: {self.most_connections}")
        return "\n".join([*lines, *sorted(set(self.errors))[:5]])


def stream_many(url: str, token: str, count: int, question: str) -> Result:
    """Ask ``count`` questions at once, each in a conversation of its own, and read all answers to their end."""
    result = Result()
    with counted_connections(result):
        started = time.monotonic()
        asyncio.run(_ask_all(url, token, count, question, result))
        result.wall = time.monotonic() - started
    return result


def stream_in_turn(url: str, token: str, questions: Sequence[str]) -> Result:
    """Ask one question after the other, each in a conversation of its own."""
    result = Result()
    started = time.monotonic()
    for question in questions:
        asyncio.run(_ask_all(url, token, 1, question, result))
    result.wall = time.monotonic() - started
    return result


async def _ask_all(url: str, token: str, count: int, question: str, result: Result) -> None:
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120, trust_env=False) as client:
        conversations = [await _conversation(client) for _ in range(count)]
        await asyncio.gather(*(_ask(client, conversation, question, result) for conversation in conversations))


async def _conversation(client: httpx.AsyncClient) -> str:
    response = await client.post("/api/v1/conversations", json={})
    response.raise_for_status()
    identifier: str = response.json()["id"]
    return identifier


async def _ask(client: httpx.AsyncClient, conversation: str, question: str, result: Result) -> None:
    path = f"/api/v1/conversations/{conversation}/messages"
    headers = {"Accept": "text/event-stream"}
    started = time.monotonic()
    try:
        async with client.stream("POST", path, json={"content": question}, headers=headers) as response:
            if response.status_code != 200:
                result.errors.append(f"{response.status_code} {(await response.aread())[:200]!r}")
                return
            await _read(response, started, result)
    except httpx.HTTPError as error:
        result.errors.append(repr(error))


async def _read(response: httpx.Response, started: float, result: Result) -> None:
    seen, name = set(), ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        if not line.startswith("data: "):
            continue
        elapsed = time.monotonic() - started
        if not seen:
            result.first_event.append(elapsed)
        if name == "token" and name not in seen:
            result.first_token.append(elapsed)
        seen.add(name)
        if name == "done" and json.loads(line[6:])["message"]["status"] == "complete":
            result.whole.append(elapsed)
            return
    result.errors.append(f"the stream ended with {name}")


@contextmanager
def counted_connections(result: Result) -> Iterator[None]:
    """Look every tenth of a second how many connections the server has."""
    over = threading.Event()

    def look() -> None:
        with closing(psycopg2.connect(_server())) as connection, connection.cursor() as cursor:
            connection.autocommit = True  # within one transaction PostgreSQL shows its first snapshot for ever
            while not over.wait(0.1):
                cursor.execute(CONNECTIONS)
                result.most_connections = max(result.most_connections, cursor.fetchone()[0])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _server() -> str:
    from ragsite.layout import Layout

    return os.environ.get("DATABASE_URL") or Layout.from_environment().database_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--question", default="What is this about?")
    given = parser.parse_args()
    result = stream_many(given.url, given.token, given.count, given.question)
    print(result.report())
    raise SystemExit(bool(result.errors))


if __name__ == "__main__":
    main()
