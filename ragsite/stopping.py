"""What a web process still has to do when it is told to stop."""

import signal
import threading
from collections.abc import Callable
from typing import Any

_tasks: list[Callable[[], None]] = []


def before_stop(task: Callable[[], None]) -> None:
    """Have this done when the process gets SIGTERM; it should take less than gunicorn's ``graceful_timeout``."""
    _tasks.append(task)


def heed_sigterm() -> None:
    """Do the tasks on SIGTERM, then what was to be done before. Called in the main thread of a web process.

    In a thread, because a signal's handler may interrupt whoever holds a lock; not a daemon's, so that the interpreter
    waits for it.
    """
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        threading.Thread(target=_run_tasks, name="stopping").start()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)


def _run_tasks() -> None:
    for task in _tasks:
        task()
