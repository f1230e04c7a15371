"""What the stand-in for a model costs: processor time of its process for so many streams at once.

python -m tests.load.mock_cost [--streams 1000] [--rounds 3]

Every stream is a connection of its own that asks as the site does. The client runs beside it and is not counted.
"""

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass

import psutil

from tests.load.mock_process import MockModel, running_mock_process

PROMPT = "A passage that the answer may quote, as long as the site sends it. " * 100
BODY = json.dumps({"model": "mock", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}).encode()
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
END = b"0\r\n\r\n"


@dataclass
class Round:
    """Seconds."""

    cpu: float
    wall: float
    whole: list[float]


def measure(model: MockModel, streams: int) -> Round:
    process = psutil.Process(model.pid)
    before, started = sum(process.cpu_times()[:2]), time.monotonic()
    whole = asyncio.run(_read_all(model.port, streams))
    return Round(sum(process.cpu_times()[:2]) - before, time.monotonic() - started, whole)


async def _read_all(port: int, streams: int) -> list[float]:
    return list(await asyncio.gather(*(_read(port) for _ in range(streams))))


async def _read(port: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    writer.write(REQUEST)
    tail = b""
    while not tail.endswith(END):
        piece = await reader.read(65536)
        if not piece:
            raise ConnectionError("the mock model has closed the connection")
        tail = (tail + piece)[-8:]
    writer.close()
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with running_mock_process() as model:
        for _ in range(options.rounds):
            found = measure(model, options.streams)
            print(
                f"{options.streams} streams: {found.cpu:.2f} s of processor time,"
                f" {found.cpu / options.streams * 1000:.2f} ms a stream, {found.cpu / found.wall:.0%} of a core;"
                f" a whole answer p50 {statistics.median(found.whole):.2f} s, most {max(found.whole):.2f} s"
            )


if __name__ == "__main__":
    main()
