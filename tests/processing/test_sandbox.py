"""The sandbox under attack: each fault is caused for real, on a service of the test's own."""

import contextlib
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ragsite.extraction import PLAIN_TEXT, ExtractionRefused, Limits
from ragsite.layout import PROJECT_DIR
from ragsite.sandbox import Progress, SandboxClient, SandboxUnavailable

QUICK = Limits(cpu_seconds=20, wall_seconds=30, memory_bytes=200_000_000)


@dataclass
class Sandbox:
    """A service with the probes of sandbox_probes.py, and a client of it."""

    socket_path: Path
    process: subprocess.Popen[bytes]
    client: SandboxClient

    def ask(self, operation: str, limits: Limits = QUICK, on_progress: Any = None, **arguments: Any) -> dict[str, Any]:
        content, _ = self.client._ask(operation, None, "", limits, arguments, on_progress)
        return content

    def is_well(self) -> bool:
        return self.client.extract(io.BytesIO(b"All is well."), PLAIN_TEXT).text == "All is well."


def start(socket_path: Path, max_jobs: int = 2) -> Sandbox:
    process = subprocess.Popen(
        [sys.executable, "-m", "processing.sandbox", "--socket", str(socket_path), "--max-jobs", str(max_jobs)]
        + ["--extra-operations", "tests.processing.sandbox_probes"],
        cwd=PROJECT_DIR,
        stderr=subprocess.PIPE,
    )
    return Sandbox(socket_path, process, SandboxClient(socket_path))


@contextlib.contextmanager
def running(socket_path: Path, max_jobs: int = 2) -> Iterator[Sandbox]:
    sandbox = start(socket_path, max_jobs)
    try:
        assert sandbox.is_well()
        yield sandbox
    finally:
        sandbox.process.kill()
        sandbox.process.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def shared_sandbox(folder: Path) -> Iterator[Sandbox]:
    with running(folder / "shared.sock") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """Whatever a test did to it, the service goes on."""
    yield shared_sandbox
    assert shared_sandbox.process.poll() is None
    assert shared_sandbox.is_well()


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """For tests that end the service."""
    with running(tmp_path / "own.sock") as sandbox:
        yield sandbox


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has, too)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def refusal(sandbox: Sandbox, operation: str, limits: Limits = QUICK) -> ExtractionRefused:
    with pytest.raises(ExtractionRefused) as caught:
        sandbox.ask(operation, limits)
    return caught.value


@contextlib.contextmanager
def sleeping_job(sandbox: Sandbox) -> Iterator[tuple[int, list[BaseException]]]:
    """A job that does not end by itself: its process id, and the errors that its client has met once it has ended."""
    started, pids, errors = threading.Event(), [], []

    def note(progress: Progress) -> None:
        pids.append(progress.pages)
        started.set()

    def ask() -> None:
        try:
            sandbox.ask("sleep", on_progress=note)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert started.wait(20)
    try:
        yield pids[0], errors
    finally:
        thread.join(40)


def test_capabilities_tell_what_is_in_force(sandbox: Sandbox) -> None:
    answer = sandbox.client.capabilities()
    assert answer["measures"]["resource_limits"]
    assert answer["measures"]["no_new_privileges"]
    assert answer["tried"] == {"opens_a_file": False, "opens_a_socket": False, "forks": False}


def test_a_hijacked_reader_can_do_nothing(sandbox: Sandbox) -> None:
    missing = [name for name, active in sandbox.client.capabilities()["measures"].items() if not active]
    if missing:
        pytest.skip(f"this machine does not offer {', '.join(missing)}")
    assert sandbox.ask("misbehave") == {"worked": []}


def test_a_job_holds_no_descriptor_but_its_own(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(sandbox.ask, "sleep", seconds=1)
        assert sandbox.ask("descriptors") == {"open": [0, 1, 2, 3]}
        waiting.result()


def test_a_job_finds_nothing_that_another_left_behind(sandbox: Sandbox) -> None:
    assert sandbox.ask("leave_behind") == {"found": 1}
    assert sandbox.ask("leave_behind") == {"found": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_job_is_not_root(sandbox: Sandbox) -> None:
    assert sandbox.ask("who_am_i")["uid"] != 0


@pytest.mark.parametrize("operation", ["loop", "loop_unwilling"])
def test_an_endless_loop_ends_at_its_time(sandbox: Sandbox, operation: str) -> None:
    error = refusal(sandbox, operation, Limits(cpu_seconds=1, wall_seconds=10))
    assert error.code in {"timeout", "out_of_memory"} if operation == "loop_unwilling" else error.code == "timeout"


def test_a_job_that_only_waits_ends_at_its_time(sandbox: Sandbox) -> None:
    error = refusal(sandbox, "sleep", Limits(wall_seconds=0.3))
    assert error.code == "timeout"
    assert "longer than is allowed" in error.detail


@pytest.mark.parametrize("operation", ["hog", "die_hungry"])
def test_a_job_that_takes_too_much_memory_is_told_so(sandbox: Sandbox, operation: str) -> None:
    assert refusal(sandbox, operation).code == "out_of_memory"


@pytest.mark.parametrize("operation", ["crash", "die_midway"])
def test_a_reader_that_crashes_leaves_a_clear_reason(sandbox: Sandbox, operation: str) -> None:
    error = refusal(sandbox, operation)
    assert error.code == "broken"
    assert "damaged" in error.detail


def test_a_killed_job_is_told_and_the_next_one_works(sandbox: Sandbox) -> None:
    with sleeping_job(sandbox) as (pid, errors):
        os.kill(pid, signal.SIGKILL)
    assert [type(error) for error in errors] == [ExtractionRefused]


def test_a_large_answer_arrives_whole(sandbox: Sandbox) -> None:
    _, payload = sandbox.client._ask("large", None, "", QUICK, {})
    assert len(payload) == 5_000_000
    assert len(set(payload)) == 1


def test_an_answer_that_is_nonsense_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = SandboxClient._ask
    monkeypatch.setattr(SandboxClient, "_ask", lambda self, _, *rest: ask(self, "answer_nonsense", *rest))
    with pytest.raises(ExtractionRefused) as caught:
        sandbox.client.extract(io.BytesIO(b"text"), PLAIN_TEXT)
    assert caught.value.code == "broken"
    monkeypatch.undo()


def test_a_client_that_goes_away_takes_its_job_with_it(sandbox: Sandbox) -> None:
    with raw_request(sandbox, "sleep") as connection:
        pid = json.loads(connection.recv(65536)[1:])["pages"]
        assert not is_gone(pid)
    wait_until(lambda: is_gone(pid))


def test_a_client_that_goes_away_while_it_waits_is_forgotten(tmp_path: Path) -> None:
    with running(tmp_path / "one.sock", max_jobs=1) as sandbox, sleeping_job(sandbox) as (pid, _):
        with raw_request(sandbox, "extract"):
            pass
        os.kill(pid, signal.SIGKILL)
        assert sandbox.is_well()


def test_a_picture_does_not_wait_behind_uploads(tmp_path: Path) -> None:
    with running(tmp_path / "busy.sock", max_jobs=1) as sandbox, sleeping_job(sandbox) as (pid, _):
        assert sandbox.client.capabilities()["measures"]
        os.kill(pid, signal.SIGKILL)


def test_more_jobs_than_fit_at_once_all_end_well(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(12) as pool:
        texts = list(
            pool.map(lambda n: sandbox.client.extract(io.BytesIO(b"%d" % n), PLAIN_TEXT).text, range(1000, 1040))
        )
    assert texts == [str(number) for number in range(1000, 1040)]


@pytest.mark.parametrize("message", [b"", b"nonsense", b"[]", b"{}", b'{"operation": "no such thing"}'])
def test_a_request_that_makes_no_sense_is_dropped(sandbox: Sandbox, message: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(sandbox.socket_path))
        connection.send(message)
        assert connection.recv(1) == b""


def test_only_its_user_may_connect(sandbox: Sandbox) -> None:
    assert stat.S_IMODE(sandbox.socket_path.stat().st_mode) == 0o600


def test_a_second_service_on_the_same_socket_says_so(sandbox: Sandbox) -> None:
    second = start(sandbox.socket_path).process
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert b"already running" in errors


def test_a_killed_service_takes_its_jobs_with_it_and_the_next_one_is_waited_for(own_sandbox: Sandbox) -> None:
    with sleeping_job(own_sandbox) as (pid, errors):
        own_sandbox.process.kill()
        own_sandbox.process.wait()
    assert [type(error) for error in errors] == [SandboxUnavailable]
    wait_until(lambda: is_gone(pid))
    with ThreadPoolExecutor() as pool:
        early = pool.submit(own_sandbox.is_well)
        with running(own_sandbox.socket_path):
            assert early.result(20)


def test_sigterm_stops_the_service_and_its_jobs(own_sandbox: Sandbox) -> None:
    with sleeping_job(own_sandbox) as (pid, errors):
        own_sandbox.process.terminate()
        assert own_sandbox.process.wait(20) == 0
    assert [type(error) for error in errors] == [SandboxUnavailable]
    wait_until(lambda: is_gone(pid))


def test_the_service_dies_with_the_one_who_started_it(tmp_path: Path) -> None:
    socket_path = tmp_path / "orphan.sock"
    code = (
        "import subprocess, sys, os, signal, ctypes\n"
        f"process = subprocess.Popen([sys.executable, '-m', 'processing.sandbox', '--socket', {str(socket_path)!r}],"
        " preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL), stderr=subprocess.DEVNULL)\n"
        "print(process.pid, flush=True)\n"
        "process.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_DIR, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert SandboxClient(socket_path, connect_seconds=20).capabilities()
    parent.kill()
    parent.communicate()
    wait_until(lambda: is_gone(pid))


def test_no_service_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable):
        SandboxClient(tmp_path / "nobody.sock", connect_seconds=0).capabilities()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_the_service_works_for_an_ordinary_user_too() -> None:
    code = (
        "import os, sys\n"
        "import processing.sandbox.__main__ as service\n"
        "service.warm_up()\n"  # what it imports may lie in a folder of root's
        "os.setgroups([]); os.setresgid(60001, 60001, 60001); os.setresuid(60001, 60001, 60001)\n"
        "sys.exit(service.main())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 60001, 60001)
        socket_path = Path(folder) / "user.sock"
        arguments = [sys.executable, "-c", code, "--socket", str(socket_path)]
        process = subprocess.Popen(arguments, cwd=PROJECT_DIR, stderr=subprocess.PIPE)
        try:
            answer = SandboxClient(socket_path, connect_seconds=20).capabilities()
        finally:
            process.terminate()
            _, errors = process.communicate()
    assert answer["measures"]["resource_limits"], errors
    assert answer["tried"] == {"opens_a_file": False, "opens_a_socket": False, "forks": False}


@pytest.mark.parametrize("may_open", [True, False])
def test_the_filter_can_forbid_to_open_any_file(may_open: bool) -> None:
    code = (
        "import ctypes, os\n"
        "from processing.sandbox import seccomp\n"
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
        f"print('installed' if seccomp.install(os.getpid(), may_open={may_open}) else 'no seccomp', flush=True)\n"
        "os.open('/etc/passwd', os.O_RDONLY)\n"
        "print('opened', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True)
    if done.stdout.startswith("no seccomp"):
        pytest.skip("this machine has no seccomp")
    assert ("opened" in done.stdout) == may_open


@contextlib.contextmanager
def raw_request(sandbox: Sandbox, operation: str) -> Iterator[socket.socket]:
    request = {"operation": operation, "content_type": PLAIN_TEXT, "arguments": {}, "limits": {}}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(sandbox.socket_path))
        connection.send(json.dumps(request).encode())
        yield connection
