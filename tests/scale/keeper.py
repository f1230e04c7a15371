"""What an orchestrator does about a site of many processes: restarts what has died, promotes a dead primary's replica.

Stands in for systemd or Kubernetes, and for Patroni with `synchronous_mode`: the primary waits for its replica as long
as there is one, and only a replica that has everything is promoted.
"""

import threading
import time
from collections.abc import Sequence

import psycopg2

from tests.scale.processes import Process
from tests.scale.replica import Node as Postgres
from tests.scale.servers import PgBouncer

LOOK_EVERY = 0.3
DEAD_AFTER = 3
"""Looks in which the primary must be silent."""
RESTART_AFTER = 1.0
"""Seconds, as an orchestrator needs to notice."""
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


class Keeper:
    """A thread; ``pool`` is pointed at the new primary."""

    def __init__(self, primary: Postgres, replica: Postgres, pool: PgBouncer, processes: Sequence[Process]) -> None:
        self.primary, self.replica, self.pool, self.processes = primary, replica, pool, processes
        self.over = threading.Event()
        self.waits_for_replica = False
        self.is_promoted = False
        self.paused: set[str] = set()
        """Names of those that somebody else restarts."""
        self.troubles: list[str] = []
        self._silent = 0
        self._dead_since: dict[str, float] = {}
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self.over.wait(LOOK_EVERY):
            try:
                self._restart_the_dead()
                self._look_after_the_database()
            except (psycopg2.Error, AssertionError, OSError) as error:
                self.troubles.append(repr(error)[:300])

    def _restart_the_dead(self) -> None:
        for process in self.processes:
            if not process.has_ended() or process.name in self.paused:
                self._dead_since.pop(process.name, None)
            elif time.monotonic() - self._dead_since.setdefault(process.name, time.monotonic()) > RESTART_AFTER:
                process.start()

    def _look_after_the_database(self) -> None:
        if self.is_promoted:
            return
        self._silent = 0 if self.primary.answers() else self._silent + 1
        if self._silent >= DEAD_AFTER:
            self._promote()
        elif self._silent == 0:
            self._mind_replica()

    def _promote(self) -> None:
        assert self.waits_for_replica, "the replica may lack what the primary has promised"
        self.replica.promote()
        self.is_promoted = True
        self.pool.point_at(self.replica)

    def _mind_replica(self) -> None:
        if not self.replica.answers() and self.replica.process and self.replica.process.poll() is not None:
            self._wait_for_replica(False)
            self.replica.start()
            return
        self._wait_for_replica(self.primary.query(STREAMING) == [(1,)])

    def _wait_for_replica(self, wait: bool) -> None:
        if wait != self.waits_for_replica:
            self.primary.set(synchronous_standby_names="*" if wait else "")
            self.waits_for_replica = wait
