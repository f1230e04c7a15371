"""What is asked for a second time is worth keeping.

What is kept in the cache must come from the primary; what is asked for once may come from a replica, if it is not kept.
So the first miss of a value in a process is computed on a replica, the next is computed on the primary and kept: hot
values cost the primary one read as before, and what nobody asks for again costs it none.
"""

import threading
import time

MOST = 50_000
"""Names in a generation, of some 100 bytes,"""
SECONDS = 600.0
"""and how long it lasts; a name is known in its own and the next one."""


class Doorkeeper:
    """Knows the names that were asked for lately."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def knows(self, name: str) -> bool:
        """Whether this was asked before; from now on it was."""
        with self._lock:
            if len(self._new) >= MOST or time.monotonic() - self._began > SECONDS:
                self._old, self._new, self._began = self._new, set(), time.monotonic()
            known = name in self._new or name in self._old
            self._new.add(name)
        return known


doorkeeper = Doorkeeper()
