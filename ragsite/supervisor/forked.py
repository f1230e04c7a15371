"""Programs that a zygote forks instead of starting an interpreter for each: see ``ragsite.zygote``."""

import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Protocol

from ragsite.embedded import kernel
from ragsite.embedded.errors import CannotStart
from ragsite.embedded.program import Program, python
from ragsite.zygote import LONGEST_MESSAGE, SOCKET

ANSWER_SECONDS = 10.0
"""A fork takes some milliseconds."""


class NotYet(CannotStart):
    """It can be started in a moment, when its zygote has imported everything."""


class HasPid(Protocol):
    """The process that runs a program, or 0."""

    @property
    def pid(self) -> int: ...


class Zygote:
    """The supervisor's end of the line to the zygote: the one that runs now, whichever it is."""

    def __init__(self) -> None:
        self._ours, self._its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: HasPid | None = None
        self._ready = 0
        kernel.adopt_orphans()

    def program(self, forked: Sequence[Program]) -> Program:
        """The zygote of these programs: with the environment of all, and a command that has room for any of theirs."""
        room = max(len(b"\0".join(map(os.fsencode, one.argv))) for one in forked)
        environment = {name: value for one in forked for name, value in one.environment.items()}
        descriptor = self._its.fileno()
        return python(
            "zygote",
            *("-m", "ragsite.zygote", " " * room),
            # its pool of threads would not survive the fork, and workers compute nothing large
            environment={**environment, SOCKET: str(descriptor), "OPENBLAS_NUM_THREADS": "1"},
            inherit=(descriptor,),
        )

    def is_run_by(self, process: HasPid) -> None:
        """Say whose pid is the zygote's, now and after each restart."""
        self._process = process

    def fork(self, program: Program, output: int) -> int:
        """The pid of the program's new process. Raises NotYet, and CannotStart where the zygote does not do it."""
        self._listen()
        to = self._process.pid if self._process else 0
        if not to or self._ready != to:
            raise NotYet("its zygote is not ready")
        asked = {"argv": program.argv, "environment": dict(program.environment), "orphan_signal": program.orphan_signal}
        socket.send_fds(self._ours, [json.dumps({"to": to, **asked}).encode()], [output])
        pid = self._answer()
        if pid is None:
            os.kill(
                to, signal.SIGKILL
            )  # the next one answers; this one might fork at last what nobody waits for any more
            raise CannotStart("its zygote does not answer")
        if not pid:
            raise CannotStart("its zygote could not fork")
        return pid

    def _listen(self) -> None:
        """Note whether a zygote has become ready, and end what was forked too late to be waited for."""
        self._ours.setblocking(False)
        while True:
            try:
                message = self._ours.recv(LONGEST_MESSAGE)
            except BlockingIOError:
                return
            told = json.loads(message)
            self._ready = told.get("ready", self._ready)
            if late := told.get("forked"):
                _end(late)

    def _answer(self) -> int | None:
        self._ours.settimeout(ANSWER_SECONDS)
        try:
            return int(json.loads(self._ours.recv(LONGEST_MESSAGE)).get("forked", 0))
        except TimeoutError:
            return None


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class ForkedProgram(Program):
    """A program that is started by a zygote."""

    zygote: Zygote = field(kw_only=True)

    @classmethod
    def of(cls, program: Program, zygote: Zygote) -> "ForkedProgram":
        return cls(**{name: getattr(program, name) for name in Program.__dataclass_fields__}, zygote=zygote)

    def start(self, output: IO[bytes] | int | None = None) -> "Forked":  # type: ignore[override]
        assert isinstance(output, int)  # noqa: S101  # a supervisor's pipe
        return Forked(self.zygote.fork(self, output))


class Forked:
    """As much of `subprocess.Popen` as a supervisor needs, for a child that somebody else has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send_signal(self, number: signal.Signals) -> None:
        """It has not been waited for, so that the pid is still its own."""
        os.kill(self.pid, number)
