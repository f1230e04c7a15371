"""`manage.py up` as a process of its own, for tests that need the whole site and kill parts of it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ragsite.layout import PROJECT_DIR

PATIENCE = 60
PROCESSES = {
    "postgres": "pginstall/bin/postgres",
    "valkey": "valkey-server",
    "encoder": "ragsite.encoder",
    "sandbox": "processing.sandbox",
    "web": "-m gunicorn",
    "worker": "--hostname=worker@",
    "upkeep": "--hostname=upkeep@",
    "zygote": "-m ragsite.zygote",
}


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether the condition came true in time; generous, because the machine may be busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Instance:
    """A running `manage.py up`."""

    def __init__(self, folder: Path, *prefix: str, **environment: str | None) -> None:
        """``prefix`` stands before the command; a variable that is None is not set."""
        self.port = free_port()
        self.folder = folder
        wanted = environment_for(folder, self.port) | environment
        self.environment = {name: value for name, value in wanted.items() if value is not None}
        self.log = Path(tempfile.mkstemp(prefix="ragsite-up-")[1])
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "manage.py", "up"],
                cwd=PROJECT_DIR,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> "Instance":
        assert until(lambda: "ready at" in self.lines or self.process.poll() is not None, seconds=240), self.lines
        assert self.process.poll() is None, self.lines
        return self

    def status(self, path: str) -> int:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=PROJECT_DIR, env=self.environment, capture_output=True, text=True, check=False
        )

    def pid_of(self, name: str) -> int:
        """The process that the supervisor has started under this name; 0 while there is none."""
        children = [pid for pid, parent in parents().items() if parent == self.process.pid]
        return next((pid for pid in children if PROCESSES[name] in command_line(pid)), 0)

    def end(self) -> None:
        """Whatever the test did, leave nothing."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self.log.unlink()


def environment_for(folder: Path, port: int) -> dict[str, str]:
    others = ("RAGSITE_", "DJANGO_", "EMBEDDING_", "LLM_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    mine = {"RAGSITE_DATA_DIR": str(folder), "RAGSITE_PORT": str(port), "RAGSITE_DOTENV": os.devnull}
    mine["HOME"] = str(folder.parent)
    return {**kept, **mine, "DATABASE_URL": "", "DATABASE_REPLICA_URLS": "", "REDIS_URL": "", "RAGSITE_WORKERS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parents() -> dict[int, int]:
    """The parent of every process that runs now; what has ended and only waits to be noticed does not count."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    tree, found, border = parents(), set(), {pid}
    while border:
        border = {child for child, parent in tree.items() if parent in border}
        found |= border
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
