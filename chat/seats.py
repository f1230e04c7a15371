"""Who waits here for an answer: each reader keeps a thread of the web process, and threads are few."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from ragsite.api.problems import Problem

KEPT_FREE = 32
"""Threads that no reader gets, so that short requests are answered however many streams are open."""

_lock = threading.Lock()
_taken: Counter[int] = Counter()
"""By user. A number that is 0 is not kept."""


class Seat:
    """The right of one user's request to wait for an answer."""

    def __init__(self, user_id: int) -> None:
        self.kept = False
        self._user_id: int | None = user_id

    def keep_for(self, frames: Iterator[bytes]) -> "SeatedStream":
        """The stream, which gives the seat back when it is closed."""
        self.kept = True
        return SeatedStream(frames, self)

    def give_back(self) -> None:
        with _lock:
            user_id, self._user_id = self._user_id, None
            if user_id is None:
                return
            _taken[user_id] -= 1
            if _taken[user_id] < 1:
                del _taken[user_id]


class SeatedStream:
    """An iterator that is closed even if nobody ever read from it, which a generator is not."""

    def __init__(self, frames: Iterator[bytes], seat: Seat) -> None:
        self._frames = frames
        self._seat = seat

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._frames)

    def close(self) -> None:
        try:
            getattr(self._frames, "close", lambda: None)()
        finally:
            self._seat.give_back()


@contextmanager
def seated(user_id: int) -> Iterator[Seat]:
    """A seat, given back at the end unless a stream keeps it. Raises Problem 429 or 503."""
    seat = _take(user_id)
    try:
        yield seat
    finally:
        if not seat.kept:
            seat.give_back()


def _take(user_id: int) -> Seat:
    with _lock:
        if settings.THROTTLE and _taken[user_id] >= settings.STREAMS_PER_USER:
            detail = f"You have {settings.STREAMS_PER_USER} answers open already; close some."
            raise Problem(429, "too_many_streams", detail, headers={"Retry-After": "5"})
        if _taken.total() >= most_seats(settings.WEB_THREADS):
            detail = "Too many answers are being read at the moment; try again shortly."
            raise Problem(503, "too_busy", detail, headers={"Retry-After": "2"})
        _taken[user_id] += 1
    return Seat(user_id)


def most_seats(threads: int) -> int:
    return max(1, threads - min(KEPT_FREE, threads // 4))
