"""A fleet of one replica that says of itself what a test wants."""

import os
import time

from ragsite.replicas import position
from ragsite.replicas.fleet import Fleet, Replica, Sighting

ALIAS = "replica-1"
FAR = 2**62
"""A place in the log that no test comes to."""


class KnownFleet(Fleet):
    """Asks nobody: what the replica says is what the test has given."""

    def __init__(self) -> None:
        super().__init__([ALIAS])
        self._pid = os.getpid()
        self.says()

    @property
    def replica(self) -> Replica:
        return self.replicas[0]

    def says(self, lsn: int = FAR, timeline: int = 1, is_replica: bool = True) -> None:
        self.replica.note(Sighting(time.monotonic() + 1000, is_replica, lsn, timeline, 0.0))

    def has_replayed_all(self) -> None:
        self.says(position.of_primary().lsn)
