"""The processes of the site and the order in which they start and stop."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.kernel import LINUX
from ragsite.embedded.lock import InstanceLock
from ragsite.embedded.program import Program, python
from ragsite.embedded.services import engines, initialise, servers
from ragsite.layout import Layout
from ragsite.routes import MAINTENANCE, named
from ragsite.stopping import drain_seconds, grace_seconds
from ragsite.supervisor.checks import already_running, listen, make_folders
from ragsite.supervisor.child import Child
from ragsite.supervisor.counting import forget_counts, make_room_for_counts
from ragsite.supervisor.forked import ForkedProgram, Zygote
from ragsite.supervisor.loop import StopRequested, Supervisor
from ragsite.supervisor.output import Output
from ragsite.supervisor.probe import Probe, local_address
from ragsite.supervisor.renewal import BEFORE, renew

STOP_ORDER = (("web", BEFORE, "zygote", "upkeep", "worker"), ("encoder", "sandbox"), ("valkey",), ("postgres",))
"""The web processes may finish answers first, and need the encoder for that."""
FAILED_STARTS = 3
"""A server that died as often at its start will not come up by trying again."""


@dataclass(frozen=True)
class Address:
    """Where the site listens."""

    host: str
    port: int

    @classmethod
    def from_environment(cls) -> "Address":
        port = os.environ.get("RAGSITE_PORT") or "8000"
        if not port.isdigit() or not 0 < int(port) < 65_536:
            raise CannotStart(f"RAGSITE_PORT must be a number from 1 to 65535, not {port}.")
        return cls(os.environ.get("RAGSITE_HOST") or "127.0.0.1", int(port))

    @property
    def url(self) -> str:
        """As people on this machine open it."""
        host = local_address(self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def up_all() -> int:
    """Run the site until Ctrl-C or SIGTERM. Raises CannotStart when it cannot be started."""
    layout, address = Layout.from_environment(), Address.from_environment()
    make_folders(layout)
    lock = InstanceLock(layout)
    with ExitStack() as stack:
        if not lock.acquire("manage.py up", address.url):
            raise already_running(layout, lock.holder())
        stack.callback(lock.release)
        stack.callback(forget_counts, make_room_for_counts(layout))
        listener = stack.enter_context(listen(address.host, address.port))
        output = Output()
        stack.callback(output.close)
        supervisor = Supervisor(output)
        stack.callback(supervisor.stop, STOP_ORDER)
        stack.callback(listener.close)  # first: nobody should wait in the queue of a site that stops
        try:
            site = Site(supervisor, layout, address, listener)
            site.start()
            supervisor.run(site.renew)
        except StopRequested:
            pass
        supervisor.say("stopping")
    return 0


class Site:
    """Starts the site's processes under a supervisor, as much at once as their needs allow."""

    def __init__(self, supervisor: Supervisor, layout: Layout, address: Address, listener: socket.socket) -> None:
        self.supervisor = supervisor
        self.layout = layout
        self.address = address
        self.listener = listener
        self.report = os.pipe()
        os.set_blocking(self.report[0], False)

    def renew(self) -> None:
        """New web processes and workers in place of those that run, without a pause."""
        renew(self.supervisor, web_program(self.listener, self.report[1]), self.report[0])

    def start(self) -> None:
        if initialise(self.layout):
            self.supervisor.say(f"made a new database in {self.layout.data_dir}")
        self._start_servers()
        first_sign_in = self._start_web_and_engines()
        self._wait_for_web()
        start_workers(self.supervisor, [worker_program(), upkeep_program()])
        self._announce(first_sign_in)

    def _start_servers(self) -> None:
        started = [(service, self.supervisor.start(service.program)) for service in servers(self.layout)]
        for service, child in started:
            failure = f"{service.program.name} did not start; its lines above say why."
            gave_up = partial(_has_failed_often, child)
            self.supervisor.wait_until(service.is_ready, seconds=60, failure=failure, gave_up=gave_up)

    def _start_web_and_engines(self) -> dict[str, str]:
        """Returns when migrations and the like are done: the first administrator's name and password, if just made."""
        web = self.supervisor.start(web_program(self.listener, self.report[1]), restarts=False)
        for engine in engines(self.layout):
            self.supervisor.start(engine.program)
        report = Report(self.report[0])
        failure = "The site could not be prepared; the lines above say why."
        self.supervisor.wait_until(report.arrived, seconds=1800, failure=failure, gave_up=lambda: not web.is_running)
        web.restarts = True  # the pipe stays open: a web process that comes again reports again
        return report.content

    def _wait_for_web(self) -> None:
        probe = Probe(self.supervisor, self.address.host, self.address.port)
        try:
            self.supervisor.wait_until(
                lambda: probe.answered, seconds=120, failure="The web processes do not answer; see their lines above."
            )
        finally:
            probe.close()

    def _announce(self, first_sign_in: dict[str, str]) -> None:
        say = self.supervisor.say
        say(f"ready at {os.environ.get('RAGSITE_URL') or self.address.url}")
        if first_sign_in:
            say(f"sign in as {first_sign_in['username']} with the password {first_sign_in['password']}")
            say("this password is not shown again: keep it, or change it once signed in")
        say("Ctrl-C stops everything")


def start_workers(supervisor: Supervisor, programs: Sequence[Program]) -> None:
    """Several are forked from one process that has imported what they share: 90 MB less than each by itself."""
    if len(programs) > 1 and LINUX:
        zygote = Zygote()
        zygote.is_run_by(supervisor.start(zygote.program(programs)))
        programs = [ForkedProgram.of(program, zygote) for program in programs]
    for program in programs:
        supervisor.start(program)


class Report:
    """What `manage.py prepare` writes to a pipe when it is done: one line of JSON."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._text = b""

    def arrived(self) -> bool:
        try:
            self._text += os.read(self._reader, 4096)
        except BlockingIOError:
            pass
        return self._text.endswith(b"\n")

    @property
    def content(self) -> dict[str, str]:
        return json.loads(self._text)


def _has_failed_often(child: Child) -> bool:
    return child.failures >= FAILED_STARTS


def web_program(listener: socket.socket, report: int | None = None) -> Program:
    """gunicorn. Its threads share few database connections, or 100 people would need 100 of them.

    ``report`` is told when the site has been prepared; without it that is done elsewhere.
    """
    handed_on = {"RAGSITE_LISTEN_FD": listener.fileno()}
    if report is not None:
        handed_on["RAGSITE_REPORT_FD"] = report
    environment = {
        **{name: str(descriptor) for name, descriptor in handed_on.items()},
        "RAGSITE_DATABASE_POOL": os.environ.get("RAGSITE_DATABASE_POOL") or "8",
    }
    application = "ragsite.wsgi" if report is None else "ragsite.prepared_wsgi"
    arguments = ("-m", "gunicorn", "--config", "python:ragsite.gunicorn", application)
    return python(
        "web",
        *arguments,
        environment=environment,
        inherit=tuple(handed_on.values()),
        grace_seconds=drain_seconds() + grace_seconds(),
    )


def worker_program() -> Program:
    """Celery for documents, in threads of one process: they mostly wait for the sandbox, the encoder and the database.

    At most `RAGSITE_WORKERS` documents at once, fewer when few wait or answers suffer (`processing.scaling`); half of
    the places are kept for small documents (`processing.admission`).
    """
    most, least = os.environ.get("RAGSITE_WORKERS") or "4", os.environ.get("RAGSITE_LEAST_WORKERS") or "2"
    scale = f"--autoscale={most},{min(least, most, key=int)}"
    environment = {"CELERY_CUSTOM_WORKER_POOL": "processing.places:PlacedThreads"}
    queues = f"--queues={','.join(_queues())}"
    return _celery_worker("worker", queues, "--pool=custom", scale, environment=environment)


def _queues() -> tuple[str, ...]:
    """The queues of documents that this machine's worker serves (docs/queues.md)."""
    try:
        return named(os.environ.get("RAGSITE_QUEUES") or "")
    except ValueError as error:
        raise CannotStart(f"RAGSITE_QUEUES: {error}") from error


def upkeep_program() -> Program:
    """Celery for what is short and must not wait behind documents, and its clock: threads of one process.

    As many threads as there are periodic tasks: those that take long once an hour leave room for the others.
    """
    return _celery_worker("upkeep", f"--queues={MAINTENANCE}", "--pool=threads", "--concurrency=4", "--clock")


def _celery_worker(name: str, *options: str, environment: Mapping[str, str] | None = None) -> Program:
    """A stop is a warm one: `processing.tasks.stop_at_once` hears of it before Celery waits for the threads at work."""
    common = (f"--hostname={name}@%h", "--prefetch-multiplier=1", "--loglevel=INFO")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    arguments = ("-m", "celery", "--app=ragsite", "--quiet", "worker", *options, *common, *quiet)
    quiet_environment = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser"}
    return python(name, *arguments, environment={**quiet_environment, **(environment or {})}, noise=("Warm shutdown",))
