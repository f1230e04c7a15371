"""The sandbox service: one warm process that forks a confined child for every file it is given.

Single-threaded on purpose: only then is a fork without exec safe, and nothing of one person's file can be in the
memory in which another's is read. The service itself never looks into a file.
"""

import logging
import os
import resource
import selectors
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from processing.sandbox.job import BROKEN, OUT_OF_MEMORY, Request, Surroundings, run_in_child
from ragsite import sandbox_wire as wire

logger = logging.getLogger("sandbox")

_KEEP_ALIVE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.05
_BACKLOG: Final = 256
_QUICK_OPERATIONS: Final = frozenset({"render_page", "locate", "capabilities"})
"""Somebody waits for these: they do not queue behind uploads."""


@dataclass(eq=False)
class _Client:
    """A connection and, once it has asked, its job."""

    connection: socket.socket
    request: Request | None = None
    file: int | None = None
    pid: int | None = None
    process: int | None = None
    deadline: float = float("inf")
    timed_out: bool = False


@dataclass
class _Lane:
    """Jobs that share a limit of how many run at once."""

    limit: int
    running: set[_Client] = field(default_factory=set)
    waiting: deque[_Client] = field(default_factory=deque)


class Service:
    """Accepts requests on ``listener`` until :meth:`stop` is called."""

    def __init__(self, listener: socket.socket, surroundings: Surroundings, max_jobs: int) -> None:
        self._listener = listener
        self._surroundings = surroundings
        self._selector = selectors.DefaultSelector()
        self._reading = _Lane(max_jobs)
        self._quick = _Lane(max_jobs)
        self._wake, self._waker = os.pipe()
        self._stopping = False
        self._last_keep_alive = 0.0

    def stop(self, *_: object) -> None:
        """End :meth:`run`; fit for a signal handler, which alone would not interrupt its waiting."""
        self._stopping = True
        os.write(self._waker, b"!")

    def run(self) -> None:
        """Serve until stopped, then kill what runs."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, lambda: os.read(self._wake, 1))
        while not self._stopping:
            for key, _ in self._selector.select(self._seconds_to_wait()):
                key.data()
            self._end_overdue()
            self._keep_waiting_clients_alive()
        for client in [*self._reading.running, *self._quick.running]:
            _kill(client)

    def _seconds_to_wait(self) -> float:
        deadlines = [client.deadline for lane in (self._reading, self._quick) for client in lane.running]
        return max(0.0, min([time.monotonic() + _KEEP_ALIVE_SECONDS, *deadlines]) - time.monotonic())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no descriptor is free: those who wait in the backlog come later
            time.sleep(_PAUSE_SECONDS)
            return
        client = _Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(client))

    def _hear(self, client: _Client) -> None:
        """Take the request; anything after it, the end of the connection above all, ends the job."""
        if client.request is not None or not self._take_request(client):
            self._drop(client)
            return
        lane = self._lane(client)
        lane.waiting.append(client)
        self._start_waiting(lane)

    def _take_request(self, client: _Client) -> bool:
        try:
            message, files, _, _ = socket.recv_fds(client.connection, wire.MESSAGE_LIMIT, 4)
        except OSError:
            return False
        client.file = files[0] if files else None
        for surplus in files[1:]:
            os.close(surplus)
        try:
            client.request = Request.parse(message)
        except (ValueError, KeyError, TypeError):
            return False
        return client.request.operation in self._surroundings.operations

    def _lane(self, client: _Client) -> _Lane:
        quick = client.request is not None and client.request.operation in _QUICK_OPERATIONS
        return self._quick if quick else self._reading

    def _start_waiting(self, lane: _Lane) -> None:
        while lane.waiting and len(lane.running) < lane.limit:
            self._start(lane, lane.waiting.popleft())

    def _start(self, lane: _Lane, client: _Client) -> None:
        request = client.request
        if request is None:
            raise AssertionError("a client waits in a lane only with its request")
        client.pid = os.fork()
        if client.pid == 0:
            run_in_child(self._surroundings, request, client.connection.fileno(), client.file)
        _close_file(client)
        client.process = os.pidfd_open(client.pid)
        client.deadline = time.monotonic() + request.limits.wall_seconds
        lane.running.add(client)
        self._selector.register(client.process, selectors.EVENT_READ, lambda: self._reap(client))

    def _reap(self, client: _Client) -> None:
        """A child has ended: where it could not say why, say it for it."""
        if client.pid is None or client.process is None:
            return
        _, status, usage = os.wait4(client.pid, 0)
        self._selector.unregister(client.process)
        os.close(client.process)
        client.pid = client.process = None
        if os.WIFSIGNALED(status):
            _tell(client, *_reason(client, os.WTERMSIG(status), usage, self._surroundings.resident_bytes))
        elif os.WEXITSTATUS(status) != 0:
            logger.error("a job could not be set up: exit code %s", os.WEXITSTATUS(status))
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        """Forget a client; a child that still works for it is killed first and comes back here by :meth:`_reap`."""
        if client.connection.fileno() >= 0:
            self._selector.unregister(client.connection)
            client.connection.close()
        _close_file(client)
        if client.pid is not None:
            _kill(client)
            return
        lane = self._lane(client)
        lane.running.discard(client)
        if client in lane.waiting:
            lane.waiting.remove(client)
        self._start_waiting(lane)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for client in [*self._reading.running, *self._quick.running]:
            if client.deadline <= now:
                client.timed_out = True
                client.deadline = float("inf")
                _kill(client)

    def _keep_waiting_clients_alive(self) -> None:
        """Tell those who wait for their turn, once in a while, that they still do."""
        if time.monotonic() - self._last_keep_alive < _KEEP_ALIVE_SECONDS:
            return
        self._last_keep_alive = time.monotonic()
        for lane in (self._reading, self._quick):
            for position, client in enumerate(lane.waiting):
                _send(client, wire.PROGRESS, {"progress": 0.0, "pages": None, "ahead": position})


def _kill(client: _Client) -> None:
    if client.pid is not None:
        os.kill(client.pid, signal.SIGKILL)


def _close_file(client: _Client) -> None:
    if client.file is not None:
        os.close(client.file)
        client.file = None


def _reason(client: _Client, signal_number: int, usage: resource.struct_rusage, inherited: int) -> tuple[str, str]:
    """Why a child was killed, as a refusal's code and detail; ``inherited`` bytes it had from the service."""
    if client.timed_out or signal_number == signal.SIGXCPU:
        return "timeout", "Reading the file took longer than is allowed. Split it into smaller files and upload those."
    allowed = client.request.limits.memory_bytes if client.request else 0
    if signal_number == signal.SIGKILL or usage.ru_maxrss * 1024 - inherited > allowed / 2:
        return "out_of_memory", OUT_OF_MEMORY
    return "broken", BROKEN


def _tell(client: _Client, code: str, detail: str) -> None:
    _send(client, wire.ERROR, {"code": code, "detail": detail, "trace": None})


def _send(client: _Client, tag: bytes, content: dict[str, object]) -> None:
    """Send without ever waiting for the client."""
    if client.connection.fileno() < 0:
        return
    try:
        wire.send_json(client.connection, tag, content, socket.MSG_DONTWAIT)
    except OSError:
        pass  # it is gone, or so far behind that its connection will be closed in a moment anyway


def listen(path: Path) -> socket.socket:
    """A listening socket for this user alone. Raises FileExistsError when another service answers there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _remove_stale(path)
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(previous)
    listener.listen(_BACKLOG)
    return listener


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(f"a sandbox service is already running on {path}")
