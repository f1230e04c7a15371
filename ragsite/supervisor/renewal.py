"""New web processes beside the old ones, on the same listening socket, and then in their place: SIGUSR2.

Nobody is refused meanwhile: connections wait in the socket's queue, and the old processes finish what they have begun
(``ragsite.stopping``). So a new release comes to a site on one machine.
"""

import os
import signal

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.program import Program
from ragsite.supervisor.child import Child
from ragsite.supervisor.loop import Supervisor

BEFORE = "web before"
"""The old processes, while they finish."""
READY = b"}\n\n"
"""`prepare` reports one line of JSON, a web process that is ready writes a line end. Two of the latter alone are of old
processes that were restarted meanwhile."""


def renew(supervisor: Supervisor, program: Program, report: int) -> None:
    """Start ``program`` in place of the web processes that run; ``report`` is what it and its processes write to.

    Documents' workers are restarted after it: they give back what they have in work.
    """
    if BEFORE in supervisor.children and supervisor.children[BEFORE].is_running:
        supervisor.say("the web processes before the last ones still finish: try again later")
        return
    supervisor.say("starting new web processes beside those that run")
    old = supervisor.children[BEFORE] = supervisor.children.pop(program.name)
    old.restarts = False
    _read(report)
    try:
        new = _started(supervisor, program)
        _wait_for(supervisor, new, report)
    except CannotStart as error:
        _keep(supervisor, old, supervisor.children[program.name])
        supervisor.say(str(error))
        return
    new.restarts = True
    old.signal(signal.SIGTERM)
    for name in ("zygote", "worker", "upkeep"):  # the first has the old release in memory
        if name in supervisor.children:
            supervisor.children[name].signal(signal.SIGTERM)
    supervisor.say("the new web processes are ready, the old ones finish what they have begun")


def _started(supervisor: Supervisor, program: Program) -> Child:
    try:
        return supervisor.start(program, restarts=False)
    except OSError as error:  # of the new release's interpreter, or the machine has no more processes or files to give
        raise CannotStart(f"The new web processes did not start ({error}); the old ones go on.") from error


def _wait_for(supervisor: Supervisor, new: Child, report: int) -> None:
    told = bytearray()

    def is_ready() -> bool:
        told.extend(_read(report))
        return READY in told

    failure = "The new web processes did not start, see their lines above; the old ones go on."
    supervisor.wait_until(is_ready, seconds=1800, failure=failure, gave_up=lambda: not new.is_running)


def _keep(supervisor: Supervisor, old: Child, new: Child) -> None:
    new.signal(signal.SIGKILL)
    while new.is_running:
        supervisor.pump(0.05)
    old.restarts = True
    if not old.is_running:
        old.plan_restart()
    supervisor.children[old.program.name] = supervisor.children.pop(BEFORE)


def _read(report: int) -> bytes:
    try:
        return os.read(report, 65_536)
    except BlockingIOError:
        return b""
