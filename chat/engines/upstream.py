"""The connection to a model's server: read in slices, stopped at once.

httpcore does HTTP and TLS; this module gives it sockets of its own kind. A read waits until 60 ms (100 where many are
read) have passed since the last one and then takes all that has arrived: a third less CPU than waking for every token.
While it waits, it looks whether the answer was stopped; a socket that blocks in the kernel could not be stopped from
another thread.
"""

import os
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore

from chat.answers.running import StopFlag

SLICE_SECONDS = 0.06
LONGEST_SLICE_SECONDS = 0.1
MANY = 25
"""Answers that one process reads at once, above which slices grow: a read costs the same however much it takes."""
LOOK_SECONDS = 0.1
"""How long a stop may go unseen."""
LARGEST_READ = 1 << 18
CONNECTIONS = 1000
IDLE_SECONDS = 30.0

_local = threading.local()


@dataclass
class Watch:
    """What the reads of this thread look at, and whom they tell that all that had arrived is used up."""

    stop: StopFlag
    idle: Callable[[], None]
    last_read: float = 0.0


_watches: set[int] = set()


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """All reads of this thread in here are watched."""
    _local.watch = watch
    _watches.add(id(watch))
    try:
        yield
    finally:
        _local.watch = None
        _watches.discard(id(watch))


def slice_seconds(reading: int) -> float:
    """How long a slice lasts while so many answers are read."""
    return min(LONGEST_SLICE_SECONDS, SLICE_SECONDS * max(1.0, reading / MANY))


class SlicedStream(httpcore.NetworkStream):
    """A connection whose reads are slices; see the module."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch: Watch | None = getattr(_local, "watch", None)
        size = max(max_bytes, LARGEST_READ)
        if watch is None:
            return self._inner.read(size, timeout)
        watch.idle()
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        self._wait(watch, timeout)
        while True:
            watch.last_read = time.monotonic()
            try:
                return self._inner.read(size, LOOK_SECONDS)
            except httpcore.ReadTimeout:  # what had come was TLS's own (tickets of a session), and no data yet
                watch.stop.check()
                if time.monotonic() > deadline:
                    raise

    def _wait(self, watch: Watch, timeout: float | None) -> None:
        """Until there is something to read. Raises Stopped, and httpcore's ReadTimeout."""
        pause = watch.last_read + slice_seconds(len(_watches)) - time.monotonic()
        if pause > 0:
            watch.stop.wait(pause)
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while not self._is_readable():
            watch.stop.check()
            if time.monotonic() > deadline:
                raise httpcore.ReadTimeout

    def _is_readable(self) -> bool:
        connection: Any = self._inner.get_extra_info("socket")
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        poll = select.poll()  # select() itself cannot take descriptors above 1023
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(LOOK_SECONDS * 1000))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return SlicedStream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class SlicedBackend(httpcore.NetworkBackend):
    """Makes such connections."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return SlicedStream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return SlicedStream(self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


_pools: dict[int, httpcore.ConnectionPool] = {}


def pool() -> httpcore.ConnectionPool:
    """This process's connections: a forked child must not read answers to its parent's questions."""
    process = os.getpid()
    if process not in _pools:
        _pools[process] = httpcore.ConnectionPool(
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS // 10,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=SlicedBackend(),
        )
    return _pools[process]
