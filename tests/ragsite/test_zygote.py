"""Workers are forked from one process that has imported what they share."""

import os
import subprocess
import sys

import pytest

from ragsite.layout import PROJECT_DIR

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started by itself")

SCRIPT = """
import os, signal, sys, time
from dataclasses import replace
from ragsite.embedded.program import python
from ragsite.supervisor.forked import ForkedProgram, Zygote
from ragsite.supervisor.loop import Supervisor
from ragsite.supervisor.output import Output

supervisor, line = Supervisor(Output()), Zygote()
workers = [python(name, "-m", "tests.ragsite.forked_worker", name, environment={"OF_" + name: "1"}) for name in "ab"]
program = line.program(workers)
code = "from ragsite import zygote; zygote.preload = lambda: None; zygote.main()"
zygote = supervisor.start(replace(program, argv=(sys.executable, "-c", code, program.argv[-1])))
line.is_run_by(zygote)
a, b = (supervisor.start(ForkedProgram.of(one, line)) for one in workers)

def until(condition):
    supervisor.wait_until(condition, seconds=20, failure="it did not happen")

until(lambda: a.is_running and b.is_running)
"""


def supervise(code: str) -> str:
    end = "\nsupervisor.stop([])\nsupervisor.output.close()\n"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + code + end],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_what_is_forked_is_the_supervisors_child_as_if_it_had_started_it() -> None:
    lines = supervise("until(lambda: a.exit_code == 3)\n")
    for name in "ab":
        assert f"{name}        | I am {name}, my environment has OF_{name}" in lines
        assert f"{name}        | shown as {sys.executable} -m tests.ragsite.forked_worker {name}" in lines
    assert "child of the supervisor True, leads its session True, dies with it 9" in lines
    assert "a ended (code 3), restarting in 1 s" in lines
    assert "cannot be started" not in lines, "that a zygote is not ready yet is no news"


def test_a_worker_that_dies_while_there_is_no_zygote_comes_with_the_next_one() -> None:
    lines = supervise(
        "first = zygote.pid, b.pid\n"
        "for child in (zygote, b):\n"
        "    os.kill(child.pid, signal.SIGKILL)\n"
        "until(lambda: not zygote.is_running and not b.is_running)\n"
        "until(lambda: b.is_running)\n"
        "print('both are new', zygote.pid != first[0] and b.pid != first[1], flush=True)\n"
    )
    assert "b died (signal 9), restarting in 1 s" in lines
    assert "both are new True" in lines


def test_a_question_to_a_zygote_that_died_is_not_answered_by_the_next() -> None:
    lines = supervise(
        "import socket, json\n"
        "reader, writer = os.pipe()\n"
        "asked = {'to': 1, 'argv': ['', '-m', 'tests.ragsite.forked_worker', 'late'], 'environment': {}}\n"
        "socket.send_fds(line._ours, [json.dumps(asked | {'orphan_signal': 9}).encode()], [writer])\n"
        "os.close(writer)\n"
        "print('written by it:', os.read(reader, 100), flush=True)\n"
    )
    assert "written by it: b''" in lines


@pytest.mark.slow
def test_a_zygote_that_does_not_answer_is_ended_and_its_next_one_asked() -> None:
    lines = supervise(
        "from ragsite.supervisor import forked\n"
        "forked.ANSWER_SECONDS = 0.05\n"
        "first = zygote.pid\n"
        "os.kill(first, signal.SIGSTOP)\n"
        "b.signal(signal.SIGKILL)\n"
        "until(lambda: b.failures >= 2)\n"
        "forked.ANSWER_SECONDS = 10\n"
        "until(lambda: b.is_running)\n"
        "print('by another', zygote.pid != first, flush=True)\n"
    )
    assert "b cannot be started (its zygote does not answer), trying again in 2 s" in lines
    assert "zygote died (signal 9)" in lines
    assert "by another True" in lines


def test_what_a_zygote_forks_too_late_is_ended() -> None:
    code = (
        "child = subprocess.Popen(['sleep', '60'])\n"
        "line._its.send(json.dumps({'forked': child.pid}).encode())\n"
        "line._listen()\n"
        "print('ended by', child.wait(), flush=True)\n"
    )
    assert "ended by -9" in supervise("import json, subprocess\n" + code)


def test_there_is_no_thread_and_no_connection_when_it_forks() -> None:
    """A lock that a thread holds would stay locked, and two processes would speak on one connection."""
    code = (
        "import os\n"
        "from ragsite import zygote\n"
        "zygote.preload()\n"
        "print('threads', len(os.listdir('/proc/self/task')))\n"
        "files = [os.readlink(f'/proc/self/fd/{name}') for name in os.listdir('/proc/self/fd')[:-1]]\n"
        "print('sockets', [file for file in files if file.startswith('socket')])\n"
        "import sys; print('celery' in sys.modules, 'processing.pipeline' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_DIR,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["threads 1", "sockets []", "True True"], done.stderr
