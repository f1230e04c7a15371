"""How many documents are worked on at once: more while they wait, fewer while answers suffer.

Celery's own autoscaler (`--autoscale`, `worker_autoscaler`) with a rule of ours, over the pool of `processing.places`.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from celery.worker.autoscale import Autoscaler
from django.db import Error as DatabaseProblem
from django.db import connection
from django.utils import timezone

from documents.queue.kinds import longest_due
from processing.taking import queues_taken, wake_own
from ragsite.service_level.models import Rollup
from ragsite.service_level.sketch import Sketch
from ragsite.service_level.targets import Indicator

logger = logging.getLogger(__name__)

SECONDS_BETWEEN = 2.0
LONG_WAIT_SECONDS = 2.0
"""A document that is due for longer has found no free place."""
ADDED_LIMIT_SECONDS = 0.5
"""What the site may add to a model's first token (p95): a sixth of what is promised for the whole answer."""
ADDED_OVER = timedelta(minutes=2)
"""Measurements stand in rows of a minute."""
CALM_SECONDS = 30.0
"""After answers have suffered, so long passes before more documents are taken on again."""


@dataclass(frozen=True)
class Signals:
    """What the rule looks at."""

    oldest_seconds: float | None
    """Since when the longest waiting document is due; None: none waits."""
    added_seconds: float | None
    """What the site added to the first tokens of the last answers (p95); None: nobody asked."""

    @property
    def answers_suffer(self) -> bool:
        return self.added_seconds is not None and self.added_seconds > ADDED_LIMIT_SECONDS

    @property
    def documents_wait(self) -> bool:
        return self.oldest_seconds is not None and self.oldest_seconds > LONG_WAIT_SECONDS


class Rule:
    """One place more or less at a time; answers come before documents."""

    def __init__(self) -> None:
        self._suffered_at: float | None = None

    def wanted(self, signals: Signals, present: int, now: float) -> int:
        """How many places there should be; the caller keeps to the bounds."""
        if signals.answers_suffer:
            self._suffered_at = now
            return present - 1
        if self._suffered_at is not None and now - self._suffered_at < CALM_SECONDS:
            return present
        if signals.documents_wait:
            return present + 1
        return present if signals.oldest_seconds is not None else present - 1


def read_signals() -> Signals:
    """Two short statements."""
    now = timezone.now()
    due = longest_due(queues_taken())
    added = Sketch()
    for rollup in Rollup.objects.filter(start__gte=now - ADDED_OVER, indicator=Indicator.ADDED):
        added.merge(rollup.sketch)
    return Signals((now - due).total_seconds() if due else None, added.percentile(95.0))


class LevelAutoscaler(Autoscaler):
    """Celery's autoscaler by the level of service. It looks in a thread of its own: Celery's loop never waits."""

    def __init__(self, pool: Any, max_concurrency: int, min_concurrency: int = 0, **options: Any) -> None:
        super().__init__(pool, max_concurrency, min_concurrency, **options)
        self.keepalive = SECONDS_BETWEEN
        self._rule = Rule()
        self._signals = Signals(None, None)
        self._wanted = min_concurrency
        threading.Thread(target=self._look_now_and_then, name="autoscaler", daemon=True).start()

    @property
    def qty(self) -> int:
        return self._wanted

    def maybe_scale(self, req: Any = None) -> None:
        """By the clock alone: a message says nothing new."""
        if req is None:
            super().maybe_scale()

    def scale_down(self, n: int) -> None:
        """At once; the rule has seen to it that it is time."""
        self._shrink(n)

    def look(self) -> None:
        """Read the signals; a database that is away changes nothing."""
        try:
            self._signals = read_signals()
        except DatabaseProblem:
            return
        finally:
            connection.close()
        self._wanted = self._rule.wanted(self._signals, self.processes, monotonic())

    def _look_now_and_then(self) -> None:
        ticks = threading.Event()
        while not ticks.wait(SECONDS_BETWEEN):
            self.look()

    def _grow(self, n: int) -> None:
        self._tell(n)
        self.pool.grow(n)
        for _ in range(n):
            wake_own()

    def _shrink(self, n: int) -> None:
        self._tell(-n)
        self.pool.shrink(n)

    def _tell(self, change: int) -> None:
        waits, added = self._signals.oldest_seconds, self._signals.added_seconds
        logger.info(
            "documents at once: %d, were %d (longest wait %s, added to answers %s)",
            self.processes + change,
            self.processes,
            "none" if waits is None else f"{waits:.0f} s",
            "unknown" if added is None else f"{added:.2f} s",
        )
