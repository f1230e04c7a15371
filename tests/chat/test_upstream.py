"""Reads of a model's server that can be stopped."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from chat.answers.running import StopFlag, Stopped, StopReason
from chat.answers.slices import LONGEST_SLICE_SECONDS, SLICE_SECONDS, slice_seconds
from chat.engines import upstream


class Tickets:
    """TLS 1.3 at its beginning: readable, and no data."""

    def __init__(self, readable: socket.socket, stop: StopFlag | None) -> None:
        self.fileno, self.stop = readable.fileno, stop
        self.seconds: float | None = None

    def settimeout(self, seconds: float) -> None:
        self.seconds = seconds

    def recv(self, size: int) -> bytes:
        assert self.seconds == upstream.LOOK_SECONDS
        if self.stop:
            self.stop.set(StopReason.STOPPED)
        raise TimeoutError


@pytest.fixture
def readable() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield ours


def receive(connection: Any, stop: StopFlag, seconds: float) -> bytes:
    with upstream.watched(stop, lambda: None) as watch:
        return watch.receive(connection, seconds)


def test_a_stop_is_seen_where_only_tickets_have_come(readable: socket.socket) -> None:
    stop = StopFlag()
    with pytest.raises(Stopped):
        receive(Tickets(readable, stop), stop, 60)


def test_the_time_of_a_read_is_kept_where_only_tickets_have_come(readable: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        receive(Tickets(readable, None), StopFlag(), 0)


def test_a_stop_is_seen_where_nothing_comes() -> None:
    ours, theirs = socket.socketpair()
    stop = StopFlag()
    stop.set(StopReason.STOPPED)
    with ours, theirs, pytest.raises(Stopped):
        receive(ours, stop, 60)


def test_slices_grow_with_the_answers_that_are_read_up_to_a_bound() -> None:
    assert slice_seconds(1) == SLICE_SECONDS < slice_seconds(40) < slice_seconds(1000) == LONGEST_SLICE_SECONDS
