"""What a process knows of the replicas: a thread asks each of them ten times a second, as long as anybody reads.

So no reader waits to learn how far a replica is. One that does not answer, answers late or is none any more is left
alone, and taken again by itself.
"""

import logging
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg2
from django.conf import settings
from django.db import connections

from ragsite.replicas.position import Position

logger = logging.getLogger(__name__)

SECONDS = 0.1
"""Between two questions to a replica."""
BELIEVED_SECONDS = 0.5
"""How long its last answer counts."""
IDLE_SECONDS = 5.0
"""After so long without a reader nobody asks any more."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""How long a replica is left alone after a failure, and after many in a row."""

LAG = """
CASE WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
  ELSE coalesce(extract(epoch FROM statement_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float
"""
"""Seconds since what was replayed last was committed, where more was received. One that is cut off does not know."""
SEEN = f"""
SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,
  coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())),
  {LAG}
"""  # noqa: S608  (a constant of this module)
"""The timeline that it receives is told to roles with pg_read_all_stats; others learn it at its next restartpoint."""


@dataclass(frozen=True)
class Sighting:
    """What a server said of itself, at a time of the monotonic clock."""

    at: float
    is_replica: bool
    lsn: int
    timeline: int
    lag: float
    """Seconds since what it has replayed last was committed, where it has received more."""


class Replica:
    """One of them, as this process knows it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.sighting: Sighting | None = None
        self._pause = 0.0
        self._rests_until = 0.0

    def is_there(self) -> bool:
        """Whether it may be read from at all."""
        seen = self.sighting
        known = seen is not None and seen.is_replica and time.monotonic() - seen.at < BELIEVED_SECONDS
        return known and self.rests_for() <= 0

    def has_replayed(self, position: Position, newest_timeline: int) -> bool:
        """On an older timeline it may have what was lost in a promotion, and miss what came after."""
        seen = self.sighting
        return seen is not None and seen.timeline >= newest_timeline and seen.lsn >= position.lsn

    def note(self, sighting: Sighting) -> None:
        self.sighting = sighting

    def failed(self, error: BaseException) -> None:
        """Leave it alone for a while; what fails at the same time is one failure."""
        if self.rests_for() > 0:
            return
        if not self._pause:
            logger.warning("%s is left alone: %s", self.alias, str(error).strip().split("\n")[0])
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._rests_until = time.monotonic() + self._pause

    def rests_for(self) -> float:
        """Seconds."""
        return self._rests_until - time.monotonic()

    def served(self) -> None:
        """A read came to its end there."""
        self._pause = 0.0


class Fleet:
    """All of them, in one process."""

    def __init__(self, aliases: list[str]) -> None:
        self.replicas = [Replica(alias) for alias in aliases]
        self.newest_timeline = 0
        self._asked_at = 0.0
        self._pid = 0
        self._lock = threading.Lock()
        self._wanted = threading.Event()

    def anybody_there(self) -> bool:
        """Whether a replica can be read from at the moment; the first to ask only begins to look."""
        self._asked_at = time.monotonic()
        if self._pid != os.getpid():
            self._begin()
        self._wanted.set()
        return any(replica.is_there() for replica in self.replicas)

    def choose(self, position: Position) -> Replica | None:
        """One of those that have replayed as much."""
        self.newest_timeline = max(self.newest_timeline, position.timeline)
        able = [one for one in self.replicas if one.is_there() and one.has_replayed(position, self.newest_timeline)]
        return random.choice(able) if able else None  # noqa: S311  (nothing secret)

    def _begin(self) -> None:
        """A thread for each: one that hangs must not keep the others from being seen."""
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._wanted = threading.Event()
            for replica in self.replicas:
                threading.Thread(target=self._watch, args=[replica], name=replica.alias, daemon=True).start()

    def _watch(self, replica: Replica) -> None:
        connection = None
        while True:
            self._wanted.wait()
            try:
                connection = connection or connect(replica.alias)
                replica.note(sight(connection))
            except psycopg2.Error as error:
                replica.sighting = None
                replica.failed(error)
                if connection is not None:
                    connection.close()
                    connection = None
            time.sleep(max(SECONDS, replica.rests_for()))
            if time.monotonic() - self._asked_at > IDLE_SECONDS:
                self._wanted.clear()


def connect(alias: str) -> Any:
    """A connection of one's own, outside Django's. Raises psycopg2.Error."""
    made = psycopg2.connect(**connections[alias].get_connection_params())
    made.autocommit = True
    return made


def sight(connection: Any) -> Sighting:
    """Ask how far it is. Raises psycopg2.Error."""
    at = time.monotonic()  # before the question: what it says is not older
    with connection.cursor() as cursor:
        cursor.execute(SEEN)
        is_replica, lsn, timeline, lag = cursor.fetchone()
    return Sighting(at, is_replica, lsn or 0, timeline or 0, lag)


fleet = Fleet(settings.REPLICAS)
