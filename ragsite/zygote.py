"""Imports once what both kinds of worker need, and forks the one that is asked for: ``python -m ragsite.zygote``.

So they share the memory of what was imported, and start in a tenth of a second. A worker that was forked is a child of
the supervisor, as if that had started it: the process between them ends at once, and the supervisor adopts orphans. It
is asked by ``ragsite.supervisor.forked``, over a socket. Nothing here may open a connection or start a thread: neither
survives a fork.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
from dataclasses import dataclass
from importlib import import_module

from ragsite.embedded import kernel

SOCKET = "RAGSITE_ZYGOTE_FD"
LONGEST_MESSAGE = 65_536
PARTS_OF_CELERY = (
    *("celery.bin.celery", "celery.bin.worker", "celery.apps.worker", "celery.worker.consumer"),
    *("celery.concurrency.thread", "celery.beat", "kombu.transport.redis"),
)


@dataclass(frozen=True)
class Asked:
    """A program of this project, ``python -m module …``, to be run by a fork."""

    argv: list[str]
    environment: dict[str, str]
    orphan_signal: int
    output: int
    """An open file, for standard output and error."""


def main() -> None:
    control = socket.socket(fileno=int(os.environ.pop(SOCKET)))
    gc.disable()  # a collection would leave holes in pages that are to be shared
    preload()
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    run(serve(control, os.getppid()))


def preload() -> None:
    """Celery with its worker's parts, and with the application all that its tasks import."""
    for part in PARTS_OF_CELERY:
        import_module(part)
    from ragsite.celery import app

    app.loader.import_default_modules()
    app.finalize()


def serve(control: socket.socket, supervisor: int) -> Asked:
    """Fork whenever it is asked for. Returns in the forked process, and only there."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, LONGEST_MESSAGE, 1)
        request = json.loads(message)
        if request.pop("to") == os.getpid():  # else to one that has died with its question unread
            asked = Asked(**request, output=descriptors[0])
            pid = _fork(supervisor, asked)
            if pid is None:
                control.close()
                return asked
            control.send(json.dumps({"forked": pid}).encode())
        os.close(descriptors[0])


def _fork(supervisor: int, asked: Asked) -> int | None:
    """The pid of the new process, which is the supervisor's child by then; None in that process; 0 where it failed."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        between = os.getpid()
        if os.fork():
            os._exit(0)
        os.close(reader)
        _settle(between, supervisor, asked)
        os.write(writer, str(os.getpid()).encode())
        os.close(writer)
        return None
    os.close(writer)
    os.waitpid(between, 0)
    with os.fdopen(reader) as told:
        return int(told.read() or 0)


def _settle(between: int, supervisor: int, asked: Asked) -> None:
    """Become what `Program.start` makes: in a session of its own, and dying with the supervisor."""
    os.setsid()
    while os.getppid() == between:
        time.sleep(0.001)
    kernel.die_with_parent(signal.Signals(asked.orphan_signal), supervisor)
    for standard in (1, 2):
        os.dup2(asked.output, standard)
    os.close(asked.output)


def run(asked: Asked) -> None:
    """As `python -m` does."""
    os.environ.update(
        asked.environment | {"CELERY_SKIP_CHECKS": "1"}
    )  # done in `preload`; again, they would write to much
    kernel.name_process(asked.argv)
    gc.enable()
    _, _, module, *arguments = asked.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
