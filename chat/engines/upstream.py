"""The connection to a model's server: read in slices, stopped at once.

A read waits until 60 ms (more where many are read) have passed since the last one and then takes all that has arrived:
a third less CPU than waking for every token. While it waits, it looks whether the answer was stopped; a socket that
blocks in the kernel could not be stopped from another thread.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from chat.answers.running import StopFlag
from chat.answers.slices import slice_seconds
from ragsite.http_connections import LARGEST_READ, Connections, is_readable

LOOK_SECONDS = 0.1
"""How long a stop may go unseen."""
CONNECTIONS = 1000
IDLE_SECONDS = 30.0


class Watch:
    """What reads look at, and whom they tell that all that had arrived is used up."""

    def __init__(self, stop: StopFlag, idle: Callable[[], None]) -> None:
        self._stop, self._idle = stop, idle
        self._last_read = 0.0

    def receive(self, connection: socket.socket, timeout: float) -> bytes:
        """What has arrived when the slice is over. Raises Stopped, and TimeoutError."""
        self._idle()
        deadline = time.monotonic() + timeout
        self._rest()
        while True:
            self._stop.check()
            if is_readable(connection, LOOK_SECONDS):
                self._last_read = time.monotonic()
                connection.settimeout(LOOK_SECONDS)
                try:
                    return connection.recv(LARGEST_READ)
                except (TimeoutError, ssl.SSLWantReadError):
                    pass  # what had come was TLS's own (tickets of a session), and no data yet
            if time.monotonic() > deadline:
                raise TimeoutError

    def _rest(self) -> None:
        pause = self._last_read + slice_seconds(_reading.count) - time.monotonic()
        if pause > 0:
            time.sleep(pause)  # an Event's wait, which a stop would end, takes a lock for each


class _Reading:
    """How many answers this process reads."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self.count += number


_reading = _Reading()


@contextmanager
def watched(stop: StopFlag, idle: Callable[[], None]) -> Iterator[Watch]:
    """What reads an answer until it ends or is stopped."""
    _reading.add(1)
    try:
        yield Watch(stop, idle)
    finally:
        _reading.add(-1)


@cache
def connections(origin: str) -> Connections:
    """This process's connections to a model's server. Raises InvalidRequest."""
    return Connections(origin, most=CONNECTIONS, idle_seconds=IDLE_SECONDS)
