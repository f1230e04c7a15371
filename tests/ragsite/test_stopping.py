"""A web process that is told to stop: it says so, serves on, finishes, puts away."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ragsite import stopping
from ragsite.embedded.errors import CannotStart
from ragsite.layout import PROJECT_DIR

SCRIPT = """
import signal, sys, time
from ragsite import stopping

def say(what):
    print(what, stopping.has_begun(), flush=True)

def is_unfinished():
    say("looked")
    return next(looks, False)

over = []
looks = iter([True] * int(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: say("closed"))
stopping.finish_first(is_unfinished)
stopping.before_stop(lambda: say("put away"))
stopping.before_stop(lambda: over.append(1))
stopping.heed_sigterm()
say("serves")
while not over:
    time.sleep(0.01)
"""


@contextmanager
def serving(looks: int, drain: str, grace: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "RAGSITE_DRAIN_SECONDS": drain, "RAGSITE_GRACE_SECONDS": grace}
    command = [sys.executable, "-c", SCRIPT, str(looks)]
    with subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "serves False\n"
        process.send_signal(signal.SIGTERM)
        yield process


def lines(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=60)[0].splitlines()


def test_it_takes_nobody_any_more_then_finishes_then_puts_away() -> None:
    with serving(looks=2, drain="0.1", grace="600") as process:
        assert lines(process) == ["closed True", "looked True", "looked True", "looked True", "put away True"]


def test_without_times_it_stops_at_once() -> None:
    with serving(looks=9, drain="", grace="") as process:
        assert lines(process) == ["closed True", "put away True"]


def test_what_is_not_finished_within_the_grace_is_put_away() -> None:
    with serving(looks=10**6, drain="0", grace="0.3") as process:
        assert lines(process)[-1] == "put away True"


def test_a_second_signal_ends_the_waiting() -> None:
    with serving(looks=10**6, drain="0", grace="600") as process:
        assert process.stdout
        while process.stdout.readline() != "looked True\n":
            pass
        process.send_signal(signal.SIGTERM)
        assert lines(process)[-1] == "put away True"


def test_a_time_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGSITE_GRACE_SECONDS", "soon")
    with pytest.raises(CannotStart, match="RAGSITE_GRACE_SECONDS must be a number of seconds, not soon"):
        stopping.grace_seconds()
