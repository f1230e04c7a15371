"""One job: a forked child confines itself, does one operation on one file, answers and ends."""

import fcntl
import json
import mmap
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from processing.sandbox.confinement import confine_job
from ragsite import sandbox_wire as wire
from ragsite.extraction import ExtractionRefused, Limits

_CONNECTION, _FILE = 3, 4
_OUT_OF_THE_WAY = 10
_PROGRESS_EVERY_SECONDS = 0.1
_READING_NICENESS = 10


@dataclass(frozen=True)
class Request:
    """What a client asks for. Raises TypeError or KeyError when made from something else."""

    operation: str
    content_type: str
    limits: Limits
    arguments: dict[str, Any]

    @classmethod
    def parse(cls, message: bytes) -> "Request":
        content = json.loads(message)
        limits = Limits(**content["limits"])
        return cls(content["operation"], content["content_type"], limits, content["arguments"])


@dataclass
class Task:
    """What an operation works on. ``data`` is the mapped file, empty where there is none."""

    request: Request
    data: mmap.mmap | bytes
    measures: dict[str, bool]
    connection: socket.socket
    _last_report: float = field(default=0.0)

    def report(self, fraction: float, pages: int | None = None) -> None:
        """Tell the client how far the work is, now and then."""
        now = time.monotonic()
        if now - self._last_report >= _PROGRESS_EVERY_SECONDS:
            self._last_report = now
            wire.send_json(self.connection, wire.PROGRESS, {"progress": round(fraction, 4), "pages": pages})


@dataclass(frozen=True)
class Reply:
    """An operation's answer: a JSON part and, where it is large, a payload."""

    content: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


Operation = Callable[[Task], Reply]


@dataclass(frozen=True)
class Surroundings:
    """What a child knows of the service that made it."""

    operations: dict[str, Operation]
    measures: dict[str, bool]
    mapped_bytes: int
    resident_bytes: int
    """In memory when the service was warm; children begin with as much."""
    pid: int
    null_device: int
    """Open for reading and writing: it could not be opened any more."""


def run_in_child(surroundings: Surroundings, request: Request, connection: int, file: int | None) -> NoReturn:
    """Do one job in this freshly forked process and end it."""
    try:
        channel = _keep_only(connection, file, surroundings.null_device)
        data = _map_file(file)
        mapped = surroundings.mapped_bytes + len(data)
        measures = confine_job(request.limits, surroundings.measures, surroundings.pid, mapped)
        _answer(channel, surroundings.operations, Task(request, data, measures, channel))
    except BrokenPipeError:
        os._exit(0)  # the client is gone: nobody is left to tell
    except BaseException:
        os._exit(1)
    os._exit(0)


def _keep_only(connection: int, file: int | None, null_device: int) -> socket.socket:
    """Close every descriptor but the job's own, and leave the service's signal handling."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.nice(_READING_NICENESS)
    high_connection = fcntl.fcntl(connection, fcntl.F_DUPFD, _OUT_OF_THE_WAY)
    high_file = fcntl.fcntl(file, fcntl.F_DUPFD, _OUT_OF_THE_WAY) if file is not None else None
    for standard in (0, 1, 2):
        os.dup2(null_device, standard)
    os.dup2(high_connection, _CONNECTION)
    if high_file is not None:
        os.dup2(high_file, _FILE)
    os.closerange(_CONNECTION + 1 if high_file is None else _FILE + 1, 65536)
    return socket.socket(fileno=_CONNECTION)


def _map_file(file: int | None) -> mmap.mmap | bytes:
    """The file in memory: a private copy-on-write mapping, which costs memory only where it is read."""
    if file is None or os.fstat(_FILE).st_size == 0:
        return b""
    return mmap.mmap(_FILE, 0, access=mmap.ACCESS_COPY)


def _answer(channel: socket.socket, operations: dict[str, Operation], task: Task) -> None:
    try:
        reply = operations[task.request.operation](task)
        wire.send_data(channel, reply.payload)
        wire.send_json(channel, wire.RESULT, reply.content)
    except ExtractionRefused as refusal:
        _send_error(channel, refusal.code, refusal.detail)
    except MemoryError:
        _send_error(channel, "out_of_memory", OUT_OF_MEMORY)
    except RecursionError:
        _send_error(channel, "broken", "The file is nested too deeply to be read. Save it anew and upload it again.")
    except Exception:
        _send_error(channel, "broken", BROKEN, traceback.format_exc(limit=-8))


def _send_error(channel: socket.socket, code: str, detail: str, trace: str | None = None) -> None:
    wire.send_json(channel, wire.ERROR, {"code": code, "detail": detail, "trace": trace})


OUT_OF_MEMORY = "Reading the file took more memory than is allowed. Split it into smaller files and upload those."
BROKEN = "The file is damaged and could not be read. Open it in its own program, save it anew and upload that."
