"""A process's death is known at once, its life never mistaken."""

import os
import signal
import subprocess
import sys

import pytest

from ragsite import lifeline
from ragsite.layout import PROJECT_DIR

SCRIPT = """
import os, django
django.setup()
from ragsite import lifeline
print(lifeline.mine(), flush=True)
{more}
input()
"""


@pytest.fixture
def other():
    """``other()``: a process that has told its mark."""
    started = []

    def start(more: str = ""):
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "ragsite.settings"}
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(more=more)],
            cwd=PROJECT_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_process_lives_until_it_is_killed(other):
    process, mark = other()
    assert not lifeline.has_ended(mark)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lifeline.has_ended(mark)


def test_its_children_do_not_live_on_for_it(other):
    process, mark = other("child = os.fork() or os.read(0, 1)\nprint(child, flush=True)")
    child = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        assert lifeline.has_ended(mark)
    finally:
        os.kill(child, signal.SIGKILL)


def test_who_asks_for_itself_lives_and_is_not_harmed_by_asking(other):
    _, theirs = other("print(lifeline.has_ended(lifeline.mine()), flush=True)")
    assert not lifeline.has_ended(lifeline.mine())
    assert not lifeline.has_ended(theirs)


def test_a_file_of_the_dead_goes_when_the_next_one_begins(other):
    process, mark = other()
    process.kill()
    process.wait()
    _, next_one = other()
    names = {path.name for path in lifeline.settings.LAYOUT.lifelines_dir.iterdir()}
    assert mark.partition(":")[2] not in names
    assert next_one.partition(":")[2] in names
    assert lifeline.has_ended(mark)


@pytest.mark.parametrize("mark", ["", "nonsense", "elsewhere-1-2:0123", ":"])
def test_of_strangers_nothing_is_known(mark):
    assert not lifeline.has_ended(mark)


def test_without_a_folder_to_write_in_there_is_no_mark_and_no_fault(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ragsite.lifeline._mine", {})
    monkeypatch.setattr("ragsite.lifeline._begin", full)
    assert lifeline.mine() == ""
