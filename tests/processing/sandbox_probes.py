"""What a hostile file might make its reader do: operations that the service under test is given besides its own."""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from processing.sandbox.job import Operation, Reply, Task
from ragsite import sandbox_wire as wire

_left_behind: list[str] = []


def loop(task: Task) -> Reply:
    while True:
        pass


def loop_unwilling(task: Task) -> Reply:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return loop(task)


def sleep(task: Task) -> Reply:
    wire.send_json(task.connection, wire.PROGRESS, {"progress": 0.5, "pages": os.getpid()})
    time.sleep(float(task.request.arguments.get("seconds", 600)))
    return Reply()


def hog(task: Task) -> Reply:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))


def crash(task: Task) -> Reply:
    ctypes.string_at(0)
    return Reply()


def die_hungry(task: Task) -> Reply:
    """Take most of the allowed memory and abort, as native code does when it gets no more."""
    hoard = bytearray(int(task.request.limits.memory_bytes * 0.8))
    os.abort()
    return Reply({"never": len(hoard)})


def leave_behind(task: Task) -> Reply:
    _left_behind.append("a secret")
    return Reply({"found": len(_left_behind)})


def answer_nonsense(task: Task) -> Reply:
    wire.send_data(task.connection, b"[[[")
    return Reply()


def large(task: Task) -> Reply:
    return Reply(payload=os.urandom(1) * 5_000_000)


def die_midway(task: Task) -> Reply:
    wire.send_data(task.connection, b"x" * 1_000_000)
    os.abort()
    return Reply()


def descriptors(task: Task) -> Reply:
    """Which descriptors are open: 0 to 2 lead nowhere, then the connection, the file and its mapping."""
    return Reply({"open": [number for number in range(64) if _works(lambda number=number: os.fstat(number))]})


def misbehave(task: Task) -> Reply:
    """Try what a hijacked reader would like to do; tells what worked."""
    attempts: dict[str, Callable[[], object]] = {
        "tcp socket": lambda: socket.socket(socket.AF_INET),
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "read the project": lambda: os.open(__file__, os.O_RDONLY),
        "list a folder": lambda: os.listdir("/"),
        "write a file": lambda: os.open(f"/tmp/sandbox-{os.getpid()}", os.O_WRONLY | os.O_CREAT),
        "make a folder": lambda: os.mkdir(f"/tmp/sandbox-{os.getpid()}"),
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": _fork,
        "kill the service": lambda: os.kill(os.getppid(), 0),
        "become root": lambda: os.setuid(0),
        "raise a limit": lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_AS, (-1, -1)),
        "trace the service": lambda: _call("ptrace", 16, os.getppid(), None, None),
        "map executable memory": lambda: __import__("mmap").mmap(-1, 4096, prot=7),
    }
    return Reply({"worked": [name for name, attempt in attempts.items() if _works(attempt)]})


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ValueError, ImportError):
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def who_am_i(task: Task) -> Reply:
    return Reply({"pid": os.getpid(), "uid": os.getuid(), "folder": str(Path(__file__).parent)})


OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        loop,
        loop_unwilling,
        sleep,
        hog,
        crash,
        die_hungry,
        leave_behind,
        answer_nonsense,
        large,
        die_midway,
        descriptors,
        misbehave,
        who_am_i,
    )
}
