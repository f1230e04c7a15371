"""How a web process ends without anybody noticing.

On SIGTERM it first says that it is not ready any more, and serves on while balancers find that out
(``RAGSITE_DRAIN_SECONDS``). Then it takes no more connections and finishes what it has begun
(``RAGSITE_GRACE_SECONDS``). What is not finished then is put away by the tasks, in a moment. Both times are 0 unless
they are set: a site on one machine is to stop at once.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from ragsite.embedded.errors import CannotStart

LOOK_EVERY = 0.1

_tasks: list[Callable[[], None]] = []
_unfinished: list[Callable[[], bool]] = []
_begun = threading.Event()
_hurry = threading.Event()


def drain_seconds() -> float:
    """How long a process serves on after it has been told to stop."""
    return _seconds("RAGSITE_DRAIN_SECONDS")


def grace_seconds() -> float:
    """How long it may finish what it has begun."""
    return _seconds("RAGSITE_GRACE_SECONDS")


def _seconds(name: str) -> float:
    given = os.environ.get(name) or "0"
    try:
        return float(given)
    except ValueError as error:
        raise CannotStart(f"{name} must be a number of seconds, not {given}.") from error


def before_stop(task: Callable[[], None]) -> None:
    """Have this done at the end of the grace; it should take less than five seconds."""
    _tasks.append(task)


def finish_first(is_unfinished: Callable[[], bool]) -> None:
    """Wait for this within the grace: work that no connection may hold on to."""
    _unfinished.append(is_unfinished)


def has_begun() -> bool:
    """Whether this process is about to stop, and should be sent nobody any more."""
    return _begun.is_set()


def heed_sigterm() -> None:
    """Stop as described above on SIGTERM, without delay on a second one. Called in the main thread of a web process.

    In a thread, because a signal's handler may interrupt whoever holds a lock; not a daemon's, so that the interpreter
    waits for it.
    """
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        if _begun.is_set():
            _hurry.set()
            return
        _begun.set()
        stop_accepting = (lambda: before(number, frame)) if callable(before) else (lambda: None)
        threading.Thread(target=_stop, args=[stop_accepting], name="stopping").start()

    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)


def _stop(stop_accepting: Callable[[], None]) -> None:
    _hurry.wait(drain_seconds())
    stop_accepting()
    deadline = time.monotonic() + grace_seconds()
    while time.monotonic() < deadline and any(unfinished() for unfinished in _unfinished):
        if _hurry.wait(LOOK_EVERY):
            break
    for task in _tasks:
        task()
