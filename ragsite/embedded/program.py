"""A program that runs in the foreground and dies with whoever started it."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from ragsite.embedded import kernel
from ragsite.layout import PROJECT_DIR

HARMLESS = (
    *("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"),
    *("DYLD_*", "LD_*", "MALLOC_*", "OMP_*", "OPENBLAS_*", "ORT_*", "PYTHON*"),
)
"""Variables that every program may have."""


@dataclass(frozen=True)
class Program:
    """How to start, find ready and stop one process."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] | None = None
    """Patterns of the variables that it gets beside harmless ones; None: all, with the keys and passwords in them."""
    folder: Path = PROJECT_DIR
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when its parent dies."""
    kill_signal: signal.Signals = signal.SIGKILL
    """What it gets when it did not stop in time."""
    grace_seconds: float = 0.0
    """How much longer than others it may take to stop."""
    assume: Callable[[], None] | None = None
    """Changes who the process is, in the forked child."""
    prepare: Callable[[], None] | None = None
    """Runs in the parent before each start."""
    inherit: tuple[int, ...] = ()
    """Open files that the process gets, such as a listening socket."""
    noise: tuple[str, ...] = ()
    """Parts of lines of its output that are of no use to anybody here."""

    def start(self, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone."""
        if self.prepare:
            self.prepare()
        return subprocess.Popen(
            self.argv,
            cwd=self.folder,
            env={**self._inherited(), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            pass_fds=self.inherit,
            start_new_session=True,
            preexec_fn=_Setup(self, os.getpid()),
        )

    def _inherited(self) -> dict[str, str]:
        return dict(os.environ) if self.needs is None else environment_without_secrets(*self.needs)


def environment_without_secrets(*needs: str) -> dict[str, str]:
    """What any program may know of our environment, and what matches ``needs``."""
    wanted = (*HARMLESS, *needs)
    return {name: value for name, value in os.environ.items() if any(fnmatchcase(name, one) for one in wanted)}


@dataclass(frozen=True)
class _Setup:
    """What the child does between fork and exec."""

    program: Program
    parent: int

    def __call__(self) -> None:
        if self.program.assume:
            self.program.assume()
        kernel.die_with_parent(self.program.orphan_signal, self.parent)


def python(
    name: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    needs: tuple[str, ...] | None = None,
    inherit: tuple[int, ...] = (),
    noise: tuple[str, ...] = (),
    grace_seconds: float = 0.0,
) -> Program:
    """A program of this project, run by the interpreter that runs now."""
    # Many threads with few allocator arenas: each arena keeps what its threads have freed.
    all_environment = {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2", **(environment or {})}
    return Program(
        name,
        (sys.executable, *arguments),
        all_environment,
        needs,
        inherit=inherit,
        noise=noise,
        grace_seconds=grace_seconds,
    )


def accepts(path: Path) -> bool:
    """Whether a server listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno == errno.EPROTOTYPE  # the sandbox listens with message boundaries (SOCK_SEQPACKET)
    return True


def kill_group(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal what is left of the process group that ``pid`` leads or led."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
