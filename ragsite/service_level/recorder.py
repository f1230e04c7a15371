"""Measures in memory and writes a few small rows every ten seconds: what a request does here costs microseconds.

Each process writes rows of its own, over and over while their minute lasts. What a killed process loses is ten seconds.
A database that is away costs nothing but the wait; after half an hour the oldest minutes are given up.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings
from django.db import Error, connection, transaction
from redis.exceptions import RedisError

from ragsite.backends.away import PoolTimeout
from ragsite.heartbeat import quick_redis
from ragsite.service_level.models import Rollup, write
from ragsite.service_level.sketch import Sketch
from ragsite.service_level.targets import Indicator

logger = logging.getLogger(__name__)

STEP = 60
FLUSH_SECONDS = 10.0
KEPT_MINUTES = 30
MOST_SUBJECTS = 200
"""Of one indicator in a minute; what comes beyond is counted as ``other``. None should come near."""
USERS_SECONDS = 600

Key = tuple[str, str]


class Minute:
    """What one process measured in a minute."""

    def __init__(self) -> None:
        self.sketches: dict[Key, Sketch] = {}
        self.users: set[int] = set()
        self.is_changed = False

    def sketch(self, indicator: str, subject: str) -> Sketch:
        self.is_changed = True
        key = (indicator, subject)
        if key not in self.sketches:
            if subject and sum(known == indicator for known, _ in self.sketches) >= MOST_SUBJECTS:
                key = (indicator, "other")
            self.sketches.setdefault(key, Sketch())
        return self.sketches[key]


class Recorder:
    """Safe to share between threads. Until :meth:`start` it keeps nothing: a command is not the service."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._minutes: dict[int, Minute] = {}
        self._source = 0
        self._work = threading.Event()

    # --- What is measured ---------------------------------------------------------------------------------------------
    def measured(self, indicator: Indicator, seconds: float, subject: str = "") -> None:
        """Something went well and took so long."""
        if self._source:
            with self._lock:
                self._minute().sketch(indicator, subject).add(seconds)
            self._work.set()

    def failed(self, indicator: Indicator, subject: str = "") -> None:
        if self._source:
            with self._lock:
                self._minute().sketch(indicator, subject).errors += 1
            self._work.set()

    def seen(self, user_id: int) -> None:
        """Somebody uses the site."""
        if self._source:
            with self._lock:
                minute = self._minute()
                minute.users.add(user_id)
                minute.is_changed = True
            self._work.set()

    def _minute(self) -> Minute:
        now = int(self._clock()) // STEP
        if now not in self._minutes:
            self._minutes[now] = Minute()
        return self._minutes[now]

    # --- Writing it down ----------------------------------------------------------------------------------------------
    def start(self, automatic: bool = True) -> None:
        """Begin to measure in this process; after a fork each child does for itself."""
        self._source = secrets.randbits(62) | 1
        self._minutes = {}
        if automatic:
            threading.Thread(target=self._flush_now_and_then, name="service-level", daemon=True).start()

    def _flush_now_and_then(self) -> None:
        while True:
            self._work.wait()
            time.sleep(FLUSH_SECONDS)
            self._work.clear()
            self.flush()

    def flush(self) -> None:
        """Write what is new. Never raises: a measurement is not worth it."""
        with self._writing:
            try:
                self._flush()
            except (Error, PoolTimeout) as error:
                logger.warning("measurements wait, the database is down: %s", type(error).__name__)
            except Exception:
                logger.exception("measurements could not be written")
            finally:
                if not connection.in_atomic_block:
                    connection.close()

    def _flush(self) -> None:
        self._count_users()
        with self._lock:
            taken = {number: minute for number, minute in self._minutes.items() if minute.is_changed}
            rows = [row for number, minute in taken.items() for row in self._rows(number, minute)]
            for minute in taken.values():
                minute.is_changed = False
        try:
            if rows:
                with transaction.atomic():
                    write(rows)
        except BaseException:
            for minute in taken.values():
                minute.is_changed = True
            raise
        finally:
            self._forget()

    def _rows(self, number: int, minute: Minute) -> list[Rollup]:
        start = datetime.fromtimestamp(number * STEP, UTC)
        return [Rollup.of(start, STEP, self._source, key, sketch) for key, sketch in minute.sketches.items()]

    def _forget(self) -> None:
        """Minutes that are over and written; and the oldest where they cannot be."""
        now = int(self._clock()) // STEP
        with self._lock:
            for number in [number for number, minute in self._minutes.items() if number < now]:
                if not self._minutes[number].is_changed or number < now - KEPT_MINUTES:
                    del self._minutes[number]

    def _count_users(self) -> None:
        """How many people all processes have seen in a minute; a set cannot be added up, a HyperLogLog can."""
        with self._lock:
            seen = {n: set(minute.users) for n, minute in self._minutes.items() if minute.is_changed and minute.users}
        for number, users in seen.items():
            try:
                count = _users_of_all(number, users)
            except RedisError:
                count = len(users)
            with self._lock:
                sketch = self._minutes[number].sketch(Indicator.USERS, "")
                sketch.highest = max(sketch.highest, float(count))


def _users_of_all(number: int, users: set[int]) -> int:
    key = f"{settings.CACHES['default']['KEY_PREFIX']}:users:{number}"
    with quick_redis() as redis, redis.pipeline(transaction=False) as pipeline:
        pipeline.pfadd(key, *users)
        pipeline.expire(key, USERS_SECONDS)
        pipeline.pfcount(key)
        return int(pipeline.execute()[-1])


recorder = Recorder()
"""This process's."""
