"""The time limits of tasks (``ragsite.routes``) where Celery cannot keep them: in threads.

Soft: work that goes on for long asks now and then (``check``) and gives up with Celery's SoftTimeLimitExceeded, where
nothing is half done. Hard: a thread cannot be killed, so the worker says where it hangs, gives back what it can and
ends; whoever started it starts it again. In a pool of processes Celery does both itself.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any

from celery.concurrency.thread import TaskPool
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_postrun, task_prerun, worker_ready

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LAST_WORK_SECONDS = 10.0
"""For giving back what is in work beside the task that hangs."""
EXIT_CODE = 70

GiveBack = Callable[[Collection[int]], None]
_at_hard_limit: list[GiveBack] = []


@dataclass(frozen=True)
class Running:
    """A task in a thread, and when its limits are reached (by ``time.monotonic``)."""

    name: str
    thread: int
    soft_at: float
    hard_at: float


_running: dict[int, Running] = {}


def at_hard_limit(give_back: GiveBack) -> None:
    """Have this called before the worker ends, with the threads that hang."""
    _at_hard_limit.append(give_back)


def check() -> None:
    """Raises SoftTimeLimitExceeded in a task that has run for longer than its soft limit; elsewhere nothing."""
    running = _running.get(threading.get_ident())
    if running is not None and monotonic() > running.soft_at:
        raise SoftTimeLimitExceeded(running.name)


@task_prerun.connect
def begin(sender: Any, **_: Any) -> None:
    now, thread = monotonic(), threading.get_ident()
    soft, hard = sender.soft_time_limit or float("inf"), sender.time_limit or float("inf")
    _running[thread] = Running(sender.name, thread, now + soft, now + hard)


@task_postrun.connect
def end(**_: Any) -> None:
    _running.pop(threading.get_ident(), None)


@worker_ready.connect
def watch(sender: Any, **_: Any) -> None:
    """In a worker of threads."""
    if isinstance(sender.pool, TaskPool):
        threading.Thread(target=_watch, name="limits", daemon=True).start()


def _watch() -> None:
    clock = threading.Event()
    while not clock.wait(LOOK_SECONDS):
        if late := overdue():
            _end(late)


def overdue() -> list[Running]:
    """The tasks that have passed their hard limit."""
    return [running for running in list(_running.values()) if monotonic() > running.hard_at]


def _end(late: Collection[Running]) -> None:
    for running in late:
        frame = sys._current_frames().get(running.thread)
        where = "".join(traceback.format_stack(frame)) if frame else ""
        logger.error("%s has passed its hard limit; this worker ends. It hangs here:\n%s", running.name, where)
    giving = threading.Thread(target=_give_back, args=([running.thread for running in late],), daemon=True)
    giving.start()
    giving.join(LAST_WORK_SECONDS)
    os._exit(EXIT_CODE)


def _give_back(threads: Collection[int]) -> None:
    for give_back in _at_hard_limit:
        give_back(threads)
