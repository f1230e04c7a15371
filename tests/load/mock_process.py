"""The stand-in for a model as a process of its own, so that what it costs is not what the harness costs."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ragsite.embedded.kernel import die_with_parent
from ragsite.layout import PROJECT_DIR
from tests.load.mock_model import Times

USUAL = Times()


@dataclass
class MockModel:
    """Where it listens, and under which process id."""

    url: str
    pid: int
    times: Times

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].split("/")[0])

    def stats(self) -> dict[str, Any]:
        """What it has done so far: answers, streams, how late it was against its own times."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def reset(self) -> None:
        """Begin counting anew."""
        urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats/reset", timeout=10).close()


@contextmanager
def running_mock_process(times: Times = USUAL, failures: float = 0.0, port: int = 0) -> Iterator[MockModel]:
    """On a free port unless one is given, for a system that has to be told before."""
    values = {"first": times.first, "delay": times.delay, "tokens": times.tokens, "beat": times.beat}
    options = [f"--{name}={value}" for name, value in values.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.load.mock_model", f"--port={port}", f"--failures={failures}", *options],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the mock model did not start")
        yield MockModel(url, process.pid, times)
    finally:
        process.terminate()
        process.wait(10)
