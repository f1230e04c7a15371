"""`manage.py up` as people run it: a real start, every process killed, the supervisor too, and what stops a start."""

import fcntl
import functools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from redis import Redis

from ragsite.embedded import CannotStart
from ragsite.layout import PROJECT_DIR, Layout
from ragsite.routes import DOCUMENT_QUEUES
from ragsite.supervisor import checks
from ragsite.supervisor.site import Address
from tests.instance import (
    PATIENCE,
    PROCESSES,
    Instance,
    command_line,
    descendants,
    environment_for,
    free_port,
    parents,
    until,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.xdist_group("up"),  # the tests share one data folder: making it takes longer than most of them
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")


@pytest.fixture(scope="module")
def folder(built_model: None, layout: Layout) -> Iterator[Path]:
    """A data folder below one that only its owner can enter, with the model of the test run."""
    with tempfile.TemporaryDirectory(prefix="ragsite-") as parent:
        data = Path(parent) / "var"
        data.mkdir(mode=0o700)
        (data / "models").symlink_to(layout.models_dir.resolve())
        yield data


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Instance]:
    """A site that runs while this module's first tests do."""
    instance = Instance(folder)
    try:
        yield instance.wait_until_ready()
    finally:
        instance.end()


@pytest.fixture
def stopped_folder(site: Instance) -> Path:
    """The data folder of the site, which is stopped: tests with this fixture come after those with `site`."""
    if site.process.poll() is None:
        site.process.terminate()
        assert site.process.wait(PATIENCE) == 0
    return site.folder


def test_the_first_start_serves_and_shows_a_password_that_signs_in(site: Instance) -> None:
    assert site.status("/healthz") == 200
    password = re.search(r"sign in as admin with the password (\S+)", site.lines)
    assert password
    code = (
        f"from django.contrib.auth import authenticate; print(authenticate(username='admin', password='{password[1]}'))"
    )
    done = site.manage("shell", "-v0", "-c", code)
    assert done.stdout == "admin\n", done.stderr


def test_a_second_start_says_that_one_is_running_and_where(site: Instance) -> None:
    done = site.manage("up")
    assert done.returncode == 1
    assert f"already running at http://127.0.0.1:{site.port}/ (process {site.process.pid})" in done.stderr


def test_nothing_is_written_outside_the_data_folder(site: Instance) -> None:
    assert until(lambda: "is served" in site.lines), "the encoder did not start"
    assert [path.name for path in site.folder.parent.iterdir()] == [site.folder.name]


def test_each_line_has_the_name_of_its_process(site: Instance) -> None:
    assert all(re.match(r"[a-z]+ +\| ", line) for line in site.lines.splitlines())
    assert "postgres | LOG:  database system is ready" in site.lines
    assert "\x1b" not in site.lines


def test_no_process_has_a_secret_in_its_command_line(site: Instance) -> None:
    secrets = [path.read_text().strip() for path in (site.folder / "secrets").iterdir()]
    lines = [command_line(pid) for pid in descendants(site.process.pid)]
    assert secrets
    assert not [line for line in lines if any(secret in line for secret in secrets)]


def test_any_web_process_tells_the_metrics_of_all_processes(site: Instance) -> None:
    before = metric(site, 'ragsite_requests_total{method="GET",status="200",view="healthz"}')
    for _ in range(20):  # a connection each: both web processes get some
        assert site.status("/healthz") == 200
    assert metric(site, 'ragsite_requests_total{method="GET",status="200",view="healthz"}') == before + 20
    upload(site, "counted in the worker")
    assert until(lambda: metric(site, 'ragsite_documents_total{outcome="processed"}') >= 1), site.lines


def metric(site: Instance, name: str) -> float:
    """Zero where nothing was counted yet."""
    text = httpx.get(f"http://127.0.0.1:{site.port}/metrics", timeout=60).text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_is_told_and_comes_back_without_its_old_children(site: Instance, name: str) -> None:
    assert until(lambda: site.pid_of(name)), site.lines
    pid = site.pid_of(name)
    family = {pid} | descendants(pid)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: f"{name} died (signal 9), restarting in 1 s" in site.lines), site.lines
    assert until(lambda: site.pid_of(name) not in {0, pid}), site.lines
    assert until(lambda: not family & parents().keys())
    assert until(lambda: site.status("/readyz") == 200), site.lines


def test_both_workers_are_forks_of_one_zygote_and_share_its_memory(site: Instance) -> None:
    for name in ("worker", "upkeep"):
        assert until(lambda name=name: site.pid_of(name)), site.lines
        started_with = Path(f"/proc/{site.pid_of(name)}/environ").read_bytes()
        assert b"RAGSITE_ZYGOTE_FD=" in started_with, "it was started by itself"


def test_documents_in_work_keep_nothing_else_waiting(site: Instance) -> None:
    """The worker of documents is as busy as can be: it is frozen. The clock goes on, and the short tasks too."""
    assert until(lambda: not ill_parts(site)), site.lines
    worker = site.pid_of("worker")
    os.killpg(worker, signal.SIGSTOP)
    try:
        upload(site, "frozen")
        assert until(lambda: messages_for_documents(site) > 1), "only the upload itself has woken the worker"
    finally:
        os.killpg(worker, signal.SIGCONT)
    assert until(lambda: statuses(site) == {"processed"}), site.lines


@pytest.mark.slow
@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_both_workers_go_on_after_a_server_died_without_dying_themselves(site: Instance, server: str) -> None:
    assert until(lambda: not ill_parts(site)), site.lines
    before = {name: site.pid_of(name) for name in ("worker", "upkeep")}
    killed = site.pid_of(server)
    os.kill(killed, signal.SIGKILL)
    assert until(lambda: site.pid_of(server) not in {0, killed})
    assert until(lambda: not ill_parts(site)), site.lines
    test_documents_in_work_keep_nothing_else_waiting(site)
    assert {name: site.pid_of(name) for name in before} == before


def ill_parts(site: Instance) -> list[str]:
    """Those of the site that are not well, each kind of worker being one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/readyz", timeout=10) as answer:
            return [name for name, part in json.load(answer)["parts"].items() if not part["ok"]]
    except OSError:
        return ["web"]


def upload(site: Instance, text: str) -> None:
    with api(site) as client:
        files = {"file": (f"{uuid4()}.txt", f"{text} {uuid4()}")}
        assert client.post("/api/v1/documents", files=files).status_code == 201


def statuses(site: Instance) -> set[str]:
    with api(site) as client:
        return {document["status"] for document in client.get("/api/v1/documents").json()["results"]}


@functools.cache
def token(site: Instance) -> str:
    return site.manage("create_token", "admin", "--name", "test").stdout.strip()


def api(site: Instance) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token(site)}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=60)


def messages_for_documents(site: Instance) -> int:
    layout = Layout(site.folder)
    with Redis.from_url(layout.redis_url) as broker:
        return sum(broker.llen(f"ragsite:broker:{queue}") for queue in DOCUMENT_QUEUES)


def test_sigterm_stops_every_process_with_code_0_and_the_next_start_is_no_first_one(stopped_folder: Path) -> None:
    instance = Instance(stopped_folder)
    try:
        instance.wait_until_ready()
        family = descendants(instance.process.pid)
        instance.process.terminate()
        assert instance.process.wait(PATIENCE) == 0
        assert not family & parents().keys()
        assert "password" not in instance.lines
        assert "killed" not in instance.lines
        assert not (stopped_folder / "postgres" / "postmaster.pid").exists()
    finally:
        instance.end()


def test_kill_9_of_the_supervisor_leaves_no_process_and_the_next_start_works_at_once(stopped_folder: Path) -> None:
    first = Instance(stopped_folder)
    try:
        first.wait_until_ready()
        assert until(lambda: first.pid_of("upkeep"))
        family = descendants(first.process.pid)
        first.process.kill()
        first.process.wait()
        second = Instance(stopped_folder)
        try:
            second.wait_until_ready()
            assert until(lambda: not family & parents().keys())
        finally:
            second.end()
    finally:
        first.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_the_start_leaves_nothing(stopped_folder: Path, number: signal.Signals) -> None:
    instance = Instance(stopped_folder)
    try:
        assert until(lambda: "postgres |" in instance.lines)
        family = descendants(instance.process.pid)
        instance.process.send_signal(number)
        assert instance.process.wait(PATIENCE) == 0, instance.lines
        assert not family & parents().keys()
    finally:
        instance.end()


def test_a_port_in_use_is_told_with_a_way_out(stopped_folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = refused(stopped_folder, port)
    assert f"Port {port} is in use on 127.0.0.1" in done.stderr
    assert "RAGSITE_PORT=" in done.stderr


def test_a_damaged_data_folder_is_told_and_nothing_is_started(stopped_folder: Path) -> None:
    control = stopped_folder / "postgres" / "global" / "pg_control"
    aside = stopped_folder / "pg_control"
    control.rename(aside)
    try:
        done = refused(stopped_folder, free_port())
    finally:
        aside.rename(control)
    assert "The data folder is damaged" in done.stderr
    assert "postgres |" not in done.stdout


def test_a_server_that_cannot_open_its_files_is_given_up_and_its_lines_say_why(stopped_folder: Path) -> None:
    control = stopped_folder / "postgres" / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(bytes(len(content)))
    try:
        done = refused(stopped_folder, free_port())
    finally:
        control.write_bytes(content)
    assert "postgres did not start; its lines above say why" in done.stderr
    assert re.search(r"postgres \| (FATAL|PANIC)", done.stdout)


def test_a_site_that_cannot_be_prepared_is_not_served(stopped_folder: Path) -> None:
    done = refused(stopped_folder, free_port(), RAGSITE_URL="https://example.org", RAGSITE_DEBUG="true")
    assert "The site could not be prepared" in done.stderr
    assert "web      | " in done.stdout


def refused(folder: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail: with code 1 and a message instead of a traceback."""
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=PROJECT_DIR,
        env=environment_for(folder, port) | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ragsite: "), done.stderr
    assert "Traceback" not in done.stderr
    return done


@as_root
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        (tmp_path / "filler").write_bytes(b"x" * 1_000_000)
        done = refused(tmp_path / "var", free_port())
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "disk space" in done.stderr.lower() or "No space left" in done.stderr


def test_too_little_disk_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_megabytes", lambda folder: 3)
    with pytest.raises(CannotStart, match=r"3 MB are free.*200 MB are needed"):
        checks.make_folders(Layout(tmp_path / "var"))


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"cannot be used.*RAGSITE_DATA_DIR"):
        checks.make_folders(Layout(tmp_path / "file" / "var"))


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("RAGSITE_PORT", port)
    with pytest.raises(CannotStart, match=f"RAGSITE_PORT must be a number from 1 to 65535, not {port}"):
        Address.from_environment()


def test_the_address_is_one_that_a_browser_on_this_machine_can_open() -> None:
    assert Address("0.0.0.0", 80).url == "http://127.0.0.1:80/"
    assert Address("::", 80).url == "http://[::1]:80/"


OTHER_USER = pwd.getpwnam("nobody")
AS_OTHER_USER = ("setpriv", f"--reuid={OTHER_USER.pw_uid}", f"--regid={OTHER_USER.pw_gid}", "--clear-groups")


def way_to_be_another_user() -> tuple[str, ...] | None:
    """A command prefix after which this Python runs as an ordinary user who may read it and the checkout.

    Where Python lives below root's home, that is covered by an empty folder with only this Python in it, in a name
    space of file systems that ends with the command.
    """
    prefix, home = Path(sys.base_prefix), Path(f"/{Path(sys.base_prefix).parts[1]}")
    script = (
        'hold=$(mktemp -d) && mount --bind "$1" "$hold" && mount -t tmpfs -o mode=755 tmpfs "$2" && mkdir -p "$1" && '
        'mount --move "$hold" "$1" && rmdir "$hold" && shift 2 && exec "$@"'
    )
    covered = ("unshare", "--mount", "sh", "-c", script, "sh", str(prefix), str(home), *AS_OTHER_USER)
    for way in (AS_OTHER_USER, covered):
        code = "import django, os, sys; open('manage.py'); os.execv(sys.executable, [sys.executable, '--version'])"
        probe = [*way, sys.executable, "-c", code]
        if subprocess.run(probe, cwd=PROJECT_DIR, capture_output=True, check=False).returncode == 0:
            return way
    return None


@as_root
@pytest.mark.slow
def test_an_ordinary_user_can_run_the_site(built_model: None, layout: Layout) -> None:
    way = way_to_be_another_user()
    if way is None:
        pytest.skip("Python or the checkout is in a folder that only root can enter")
    with tempfile.TemporaryDirectory(prefix="ragsite-") as parent:
        data = Path(parent) / "var"
        shutil.copytree(layout.models_dir.resolve(), data / "models")
        for path in (Path(parent), data, *data.rglob("*")):
            os.chown(path, OTHER_USER.pw_uid, OTHER_USER.pw_gid)
        instance = Instance(data, *way)
        try:
            instance.wait_until_ready()
            assert instance.status("/healthz") == 200
            family = descendants(instance.process.pid)
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in family} == {OTHER_USER.pw_uid}
        finally:
            instance.end()
        assert not family & parents().keys()
        assert {path.name for path in Path(parent).iterdir()} == {"var"}


def supervisor_process(script: str, stderr: int | None = None) -> "subprocess.Popen[str]":
    """A script that has a `supervisor`; a process of its own, for it takes over signals and children."""
    start = (
        "import signal, time\n"
        "from ragsite.embedded.program import Program\n"
        "from ragsite.supervisor import child, loop\n"
        "from ragsite.supervisor.output import Output\n"
        "def shell(name, text): return Program(name, ('/bin/sh', '-c', text))\n"
        "def pump(seconds):\n"
        "    end = time.monotonic() + seconds\n"
        "    while time.monotonic() < end: supervisor.pump(0.02)\n"
        "supervisor = loop.Supervisor(Output())\n"
    )
    command = [sys.executable, "-c", f"{start}{script}\nsupervisor.output.close()"]
    return subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, stderr=stderr, text=True)


def supervise(script: str) -> str:
    """What the script writes."""
    with supervisor_process(script, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return output


def test_who_dies_again_and_again_waits_longer_and_longer() -> None:
    output = supervise(
        "child.FIRST_PAUSE, child.LONGEST_PAUSE = 0.01, 0.03\n"
        "crasher = supervisor.start(shell('crasher', 'exit 3'))\n"
        "pauses = []\n"
        "plan = crasher.plan_restart\n"
        "crasher.plan_restart = lambda: pauses.append(plan()) or pauses[-1]\n"
        "supervisor.wait_until(lambda: len(pauses) >= 4, seconds=30, failure='no restarts')\n"
        "print(pauses[:4])\n"
    )
    assert "crasher ended (code 3), restarting in" in output
    assert "[0.01, 0.02, 0.03, 0.03]" in output


def test_who_lived_long_has_its_failures_forgotten() -> None:
    output = supervise(
        "child.STABLE_SECONDS = 0\n"
        "crasher = supervisor.start(shell('crasher', 'exit 3'))\n"
        "print([crasher.plan_restart() for _ in range(3)])\n"
    )
    assert "[1.0, 1.0, 1.0]" in output


def test_who_does_not_stop_is_killed_with_its_children() -> None:
    output = supervise(
        "loop.STOP_SECONDS = 0.2\n"
        "stubborn = supervisor.start(shell('stubborn', \"trap '' TERM; echo trapped; while :; do sleep 1; done\"))\n"
        "pump(0.5)\n"
        "supervisor.stop([['stubborn']])\n"
        "print(stubborn.exit_code)\n"
    )
    assert output == "stubborn | trapped\n-9\n"


def test_stages_stop_one_after_the_other() -> None:
    output = supervise(
        "for name in ('first', 'second'):\n"
        "    supervisor.start(shell(name, 'trap \"echo stopped; exit\" TERM; while :; do sleep 0.05; done'))\n"
        "pump(0.5)\n"
        "supervisor.stop([['second'], ['first']])\n"
    )
    assert output.splitlines()[-2:] == ["second   | stopped", "first    | stopped"]


def test_a_line_without_end_is_cut_and_odd_bytes_do_no_harm() -> None:
    output = supervise(
        "text = r\"printf '\\377\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; sleep 9\"\n"
        "supervisor.start(shell('odd', text))\n"
        "pump(1)\n"
        "supervisor.stop([])\n"
    )
    first, *rest = output.splitlines()
    assert first == "odd      | \ufffd"
    assert sum(line.count("x") for line in rest) == 100_000
    assert max(len(line) for line in rest) < 100_000


def test_a_paused_reader_stops_nothing_and_is_told_later_how_many_lines_are_missing() -> None:
    script = (
        "import sys, time\n"
        "for _ in range(20_000): supervisor.output.line('web', 'x' * 100)\n"
        "print('written', file=sys.stderr, flush=True)\n"
        "while not supervisor.output._lines.empty(): time.sleep(0.01)\n"
        "supervisor.output.line('web', 'last')\n"
    )
    with supervisor_process(script, stderr=subprocess.PIPE) as process:
        assert process.stderr
        assert process.stdout
        assert process.stderr.readline() == "written\n"  # and nobody has read a line
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    missing = [int(line.split()[2]) for line in lines if "lines are left out here" in line]
    assert len(lines) - len(missing) + sum(missing) == 20_001
    assert sum(missing) > 10_000
    assert lines[-1] == "web      | last"


def test_sigterm_stops_a_flooded_supervisor_whose_lines_nobody_reads() -> None:
    script = "supervisor.start(shell('flood', 'exec yes'))\nsupervisor.run()\nsupervisor.stop([])\n"
    with supervisor_process(script) as process:
        assert process.stdout
        assert until(lambda: pipe_is_full(process.stdout.fileno()))
        process.terminate()
        assert process.wait(PATIENCE) == 0


def pipe_is_full(descriptor: int) -> bool:
    waiting = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    return int.from_bytes(waiting, sys.byteorder) > 60_000


def test_a_program_that_cannot_be_started_is_told_and_tried_again() -> None:
    output = supervise("supervisor.start(Program('nothing', ('/nonexistent',)))\nsupervisor.stop([])\n")
    assert "nothing cannot be started" in output
    assert "trying again in 1 s" in output


def test_as_process_1_it_waits_for_orphans() -> None:
    output = supervise(
        "import ctypes, os\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to this process, as in a container\n"
        "child.kill_group = lambda *_: None\n"
        "parent = supervisor.start(shell('parent', 'sleep 0.2 & echo $!'), restarts=False)\n"
        "pump(0.6)\n"
        "import psutil\n"
        "print('left', psutil.Process().children())\n"
    )
    assert "left []" in output
