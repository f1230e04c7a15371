"""The services that a data folder needs, and running them for as long as one command lasts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragsite.embedded.engines import encoder_program, sandbox_program, uses_own_encoder
from ragsite.embedded.errors import CannotStart
from ragsite.embedded.lock import Holder, InstanceLock, counted_as_user, wait_for_users
from ragsite.embedded.postgres import PostgresServer
from ragsite.embedded.program import Program, accepts, kill_group
from ragsite.embedded.valkey import valkey_program
from ragsite.layout import PROJECT_DIR, Layout

WITHOUT_DATABASE = frozenset(
    {
        "up",
        "help",
        "--help",
        "version",
        "--version",
        "check",
        "diffsettings",
        "collectstatic",
        "findstatic",
        "spectacular",
    }
    | {"makemigrations", "squashmigrations", "makemessages", "compilemessages", "startapp", "startproject"}
)
WITH_ENGINES = frozenset({"ingest", "ask", "evaluate"})
START_SECONDS = 60
STOP_SECONDS = 8


@dataclass(frozen=True)
class Service:
    """A program and the question whether it can be used yet."""

    program: Program
    is_ready: Callable[[], bool]


def redis_is_named() -> bool:
    """Whether the environment names a server for all that Redis is used for."""
    return bool(os.environ.get("REDIS_URL")) or all(map(os.environ.get, ("BROKER_URL", "CACHE_URL", "STREAMS_URL")))


def servers(layout: Layout, postgres_settings: Mapping[str, str] | None = None) -> list[Service]:
    """PostgreSQL and Valkey, as far as the environment names no others."""
    found = []
    if not os.environ.get("DATABASE_URL"):
        server = PostgresServer(layout, postgres_settings or {})
        found.append(Service(server.program(), server.is_ready))
    if not redis_is_named():
        found.append(Service(valkey_program(layout), lambda: accepts(layout.valkey_socket)))
    return found


def engines(layout: Layout) -> list[Service]:
    """The sandbox, and the encoder unless another embedding service is configured."""
    found = [Service(sandbox_program(layout), lambda: accepts(layout.sandbox_socket))]
    if uses_own_encoder():
        found.append(Service(encoder_program(layout), lambda: accepts(layout.encoder_socket)))
    return found


def initialise(layout: Layout) -> bool:
    """Make what the embedded servers need before their first start; True when the database is new."""
    if os.environ.get("DATABASE_URL"):
        return False
    server = PostgresServer(layout, {})
    server.check()
    if server.is_initialised:
        return False
    server.initialise()
    return True


@contextmanager
def running(services: list[Service], log: Path) -> Iterator[None]:
    """Run the services, silently unless one fails; stop them in reverse order."""
    processes: list[tuple[Program, subprocess.Popen[bytes]]] = []
    with log.open("ab") as output:
        try:
            for service in services:
                processes.append((service.program, service.program.start(output)))
            for service, (_, process) in zip(services, processes, strict=True):
                _wait_until_ready(service, process, log)
            yield
        finally:
            for program, process in reversed(processes):
                stop(program, process)


def _wait_until_ready(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not service.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise CannotStart(f"{service.program.name} did not start. The end of {log}:\n{tail}")
        time.sleep(0.02)


def stop(program: Program, process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, insist after some seconds, and leave nothing of its process group."""
    if process.poll() is None:
        process.send_signal(program.stop_signal)
    for number in (program.kill_signal, signal.SIGKILL):
        try:
            process.wait(STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(number)
    process.wait()
    kill_group(process.pid)


@contextmanager
def services_for(command: str) -> Iterator[None]:
    """What `manage.py COMMAND` needs: the servers that run already, or ones that stop when it ends.

    Raises CannotStart when they cannot be had.
    """
    if command in WITHOUT_DATABASE:
        yield
        return
    layout = Layout.from_environment()
    layout.create()
    lock = InstanceLock(layout)
    with ExitStack() as stack:
        if lock.acquire(command):
            stack.callback(lock.release)
            _start_for_command(command, layout, stack)
        else:
            stack.enter_context(counted_as_user(layout))
            _join(command, layout, lock.holder(), stack)
        yield


def _start_for_command(command: str, layout: Layout, stack: ExitStack) -> None:
    is_new = initialise(layout)
    missing = [engine for engine in engines(layout) if command in WITH_ENGINES and not engine.is_ready()]
    stack.enter_context(running(servers(layout) + missing, layout.run_dir / "servers.log"))
    stack.callback(wait_for_users, layout)
    if is_new and command not in {"migrate", "prepare", "restore"}:
        _migrate()


def _migrate() -> None:
    """Make the tables of a new database; standard output belongs to the command."""
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    if subprocess.run(migrate, cwd=PROJECT_DIR, stdout=sys.stderr, check=False).returncode != 0:
        raise CannotStart("The new database could not be given its tables; the lines above say why.")


def _join(command: str, layout: Layout, holder: Holder, stack: ExitStack) -> None:
    """Use what another process runs, and add what that one has no use for: only `up` runs all."""
    needed = engines(layout) if command in WITH_ENGINES else []
    _wait_for(servers(layout) + (needed if holder.serves else []), holder)
    missing = [engine for engine in needed if not engine.is_ready()]
    stack.enter_context(running(missing, layout.run_dir / "servers.log"))


def _wait_for(services: list[Service], holder: Holder) -> None:
    """The holder may be starting or stopping them."""
    deadline = time.monotonic() + START_SECONDS
    while waiting := [service.program.name for service in services if not service.is_ready()]:
        if time.monotonic() > deadline:
            raise CannotStart(f"{waiting[0]} does not answer; `{holder.command}` (process {holder.pid}) should run it.")
        time.sleep(0.1)
