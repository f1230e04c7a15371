"""The supervisor's main thread: waits for lines, deaths, signals and the time of the next restart."""

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from types import FrameType

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.program import Program
from ragsite.supervisor.child import Child
from ragsite.supervisor.forked import NotYet
from ragsite.supervisor.output import NAME, Output

STOP_SECONDS = 8.0
KILL_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 0.05
"""Whether a zygote is ready: it imports for a second."""


class StopRequested(Exception):
    """Ctrl-C or SIGTERM came while something was waited for."""


class Supervisor:
    """Starts children, relays their lines, restarts those that die, stops them."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._stop_requests = 0
        self._stopping = False
        self._renewal_requested = False
        self._listen_to_signals()

    def _listen_to_signals(self) -> None:
        """Signals wake the selector through a pipe; SIGCHLD needs a handler for that, and no more."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ, lambda: _drain(reader))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGUSR2, self._on_renewal_signal)

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_requests += 1

    def _on_renewal_signal(self, number: int, frame: FrameType | None) -> None:
        self._renewal_requested = True

    @property
    def stop_requested(self) -> bool:
        return self._stop_requests > 0

    def say(self, text: str) -> None:
        self.output.line(NAME, text)

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back whenever the descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def unwatch(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def start(self, program: Program, *, restarts: bool = True) -> Child:
        child = self.children[program.name] = Child(program, restarts=restarts)
        self._start(child)
        return child

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except NotYet:
            child.restart_at = time.monotonic() + LOOK_AGAIN_SECONDS
        except (OSError, CannotStart) as error:
            if not child.restarts:
                raise
            self.say(f"{child.program.name} cannot be started ({error}), trying again in {child.plan_restart():.0f} s")
        else:
            self.watch(child.descriptor, lambda: self._relay(child))

    def _relay(self, child: Child) -> None:
        for line in filter(child.is_of_use, child.read_lines()):
            self.output.line(child.program.name, line)

    def pump(self, longest: float | None = None) -> None:
        """Wait for something to happen, at most ``longest`` seconds, and deal with it."""
        for key, _ in self._selector.select(self._wait_seconds(longest)):
            key.data()
        self._bury_the_dead()
        self._start_what_is_due()

    def _wait_seconds(self, longest: float | None) -> float | None:
        due = [child.restart_at - time.monotonic() for child in self.children.values() if child.restart_at]
        limits = due + ([longest] if longest is not None else [])
        return max(0.0, min(limits)) if limits else None

    def _bury_the_dead(self) -> None:
        """Wait for every ended process: as process 1 of a container the supervisor inherits strangers too."""
        children = {child.pid: child for child in self.children.values() if child.is_running}
        while (pid := _ended_process()) is not None:
            if pid in children:
                self._bury(children[pid])
            else:
                os.waitpid(pid, 0)

    def _bury(self, child: Child) -> None:
        self._relay(child)
        self.unwatch(child.descriptor)
        manner = child.bury()
        if child.restarts and not self._stopping:
            self.say(f"{child.program.name} {manner}, restarting in {child.plan_restart():.0f} s")

    def _start_what_is_due(self) -> None:
        for child in self.children.values():
            if child.restart_at and child.restart_at <= time.monotonic() and not self._stopping:
                self._start(child)

    def wait_until(
        self,
        condition: Callable[[], bool],
        *,
        seconds: float,
        failure: str,
        gave_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Go on pumping until the condition holds.

        Raises StopRequested, or CannotStart with ``failure`` when the time is over or there is nothing to wait for.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.stop_requested:
                raise StopRequested
            if gave_up() or time.monotonic() > deadline:
                raise CannotStart(failure)
            self.pump(0.05)

    def run(self, renew: Callable[[], None] = lambda: None) -> None:
        """Pump until Ctrl-C or SIGTERM; ``renew`` is called on SIGUSR2."""
        while not self.stop_requested:
            self.pump()
            if self._renewal_requested:
                self._renewal_requested = False
                renew()

    def stop(self, stages: Iterable[Iterable[str]]) -> None:
        """Stop the named children, one stage after the other, and then whatever is left."""
        self._stopping = True
        for child in self.children.values():
            child.restart_at = None
        for names in [*stages, list(self.children)]:
            self._stop_all([self.children[name] for name in names if name in self.children])

    def _stop_all(self, children: list[Child]) -> None:
        """Ask, insist, kill. A further Ctrl-C shortens the patience."""
        insistence: list[Callable[[Child], signal.Signals]] = [
            lambda child: child.program.stop_signal,
            lambda child: child.program.kill_signal,
            lambda child: signal.SIGKILL,
        ]
        patience = STOP_SECONDS + max((child.program.grace_seconds for child in children), default=0.0)
        for step, seconds in zip(insistence, (patience, KILL_SECONDS, KILL_SECONDS), strict=True):
            for child in children:
                child.signal(step(child))
            if self._all_ended(children, seconds):
                return

    def _all_ended(self, children: list[Child], seconds: float) -> bool:
        requests, deadline = self._stop_requests, time.monotonic() + seconds
        while any(child.is_running for child in children):
            if time.monotonic() > deadline or self._stop_requests > max(requests, 1):
                return False
            self.pump(0.05)
        return True


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 512):
            pass
    except BlockingIOError:
        pass


def _ended_process() -> int | None:
    """The pid of a child process that has ended and still has to be waited for."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended else None
