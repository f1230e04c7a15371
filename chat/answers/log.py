"""The events of one answer in this process's memory."""

import threading
import time
from collections.abc import Sequence
from typing import Any

from chat.answers.events import Event


class EventLog:
    """Written by one thread, followed by any number."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        lock = threading.Lock()
        self._changed, self._ending = threading.Condition(lock), threading.Condition(lock)
        self._ended = False

    @property
    def ended(self) -> bool:
        """Nothing will be added any more."""
        return self._ended

    @property
    def is_whole(self) -> bool:
        """Whether the last event is one that ends an answer; not so when its producer died."""
        return bool(self._events) and self._events[-1].is_last

    def append(self, name: str, data: dict[str, Any]) -> None:
        event = Event.of(len(self._events) + 1, name, data)
        self.extend([event])

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that follow on those that are here."""
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()
            if any(event.is_last for event in events):
                self._end()

    def end(self) -> None:
        """Let readers go on, although no last event has come."""
        with self._changed:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._changed.notify_all()
        self._ending.notify_all()

    def after(self, number: int) -> list[Event]:
        return self._events[number:]

    def wait(self, number: int, timeout: float) -> list[Event]:
        """The events after this number as soon as there are any; none when the log ended or the time is over."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._events) <= number and not self._ended:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            return self._events[number:]

    def wait_for_end(self) -> Event | None:
        """The last event, when the log has ended; None of an empty one. Nothing wakes who waits before."""
        with self._ending:
            while not self._ended:
                self._ending.wait()
            return self._events[-1] if self._events else None

    def __len__(self) -> int:
        return len(self._events)
