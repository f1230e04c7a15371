"""Reads of a model's server that can be stopped."""

import socket
from collections.abc import Iterator

import httpcore
import pytest

from chat.answers.running import StopFlag, Stopped, StopReason
from chat.engines import upstream


class Tickets(httpcore.NetworkStream):
    """TLS 1.3 at its beginning: readable, and no data."""

    def __init__(self, readable: socket.socket, stop: StopFlag | None) -> None:
        self.readable, self.stop = readable, stop

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert timeout == upstream.LOOK_SECONDS
        if self.stop:
            self.stop.set(StopReason.STOPPED)
        raise httpcore.ReadTimeout

    def get_extra_info(self, info: str) -> socket.socket:
        return self.readable


@pytest.fixture
def readable() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield ours


def test_a_stop_is_seen_where_only_tickets_have_come(readable: socket.socket) -> None:
    stop = StopFlag()
    with upstream.watched(upstream.Watch(stop, lambda: None)), pytest.raises(Stopped):
        upstream.SlicedStream(Tickets(readable, stop)).read(100, 60)


def test_the_time_of_a_read_is_kept_where_only_tickets_have_come(readable: socket.socket) -> None:
    with upstream.watched(upstream.Watch(StopFlag(), lambda: None)), pytest.raises(httpcore.ReadTimeout):
        upstream.SlicedStream(Tickets(readable, None)).read(100, 0)
