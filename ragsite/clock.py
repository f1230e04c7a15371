"""Celery's clock as a thread of a worker: as a process of its own it takes 87 MB; `--beat` is a fork nobody watches."""

import logging
import os
import signal
from threading import Thread
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 1
"""Seconds between two looks at the schedule; a stop waits for so long."""


class Clock(bootsteps.StartStopStep):
    """Sends the periodic tasks while the worker runs, if it was started with ``--clock``."""

    conditional = True

    def __init__(self, worker: Any, clock: bool = False, **options: Any) -> None:
        super().__init__(worker, **options)
        self.enabled = clock

    def create(self, worker: Any) -> Any:
        from celery.beat import Service  # here, because web processes import this module and never need that one

        return Service(worker.app, max_interval=LONGEST_PAUSE, remote_control=False)

    def start(self, worker: Any) -> None:
        Thread(target=self._tick, name="clock", daemon=True).start()

    def _tick(self) -> None:
        """A worker whose clock has stopped is ended, so that whoever started it starts it again."""
        try:
            self.obj.start()
        except Exception:
            logger.exception("the clock has stopped, and this worker with it")
            os.kill(os.getpid(), signal.SIGKILL)
