"""An answer that is being produced in this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chat.answers.events import Event
from chat.answers.log import EventLog
from ragsite import origin, tracing

if TYPE_CHECKING:
    from chat.models import Message


class StopReason(StrEnum):
    """Why an answer ends before its engine is done."""

    STOPPED = "stopped"  # its reader said so
    INTERRUPTED = "interrupted"  # this process is going down
    FORBIDDEN = "forbidden"  # its owner was deactivated
    DELETED = "deleted"  # its conversation is gone


class Stopped(Exception):
    """Raised inside an engine when it should not go on."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


class StopFlag:
    """Set once, by any thread; the first reason counts."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason: StopReason | None = None

    def set(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if the flag is set."""
        if self._event.is_set():
            raise Stopped(self.reason or StopReason.STOPPED)

    def wait(self, seconds: float) -> None:
        """Sleep, unless there is reason to stop: then raise Stopped."""
        self._event.wait(seconds)
        self.check()

    def is_set(self) -> bool:
        return self._event.is_set()


class RunningAnswer:
    """One answer while it is produced here.

    ``stored`` ones have a row; others live only as long as their request. What is ``shared`` goes to Valkey.
    """

    def __init__(self, identifier: UUID, owner_id: int, stored: bool = True, begun: "Message | None" = None) -> None:
        self.id = identifier
        self.begun = begun
        """Its row, as it was put in."""
        self.owner_id = owner_id
        self.stored = stored
        self.shared = stored
        self.log = EventLog()
        self._held: list[Event] | None = None
        self.stop = StopFlag()
        self.published = 0  # how many of its events are in Valkey; touched by the flusher alone
        self.alive_until = 0.0
        self.finished_at: float | None = None
        self.origin = origin.here()
        self.trace = tracing.traceparent()

    @property
    def age(self) -> float:
        """Seconds since its question arrived."""
        return time.monotonic() - self.origin.arrived

    def emit(self, name: str, data: dict[str, Any]) -> None:
        """By the thread that produces the answer."""
        if self._held is None:
            self.log.append(name, data)
        else:
            self._held.append(Event.of(len(self.log) + len(self._held) + 1, name, data))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Events of this block reach the readers at its end: they are woken once."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                self.log.extend(held)

    def unpublished(self) -> list[Event]:
        return self.log.after(self.published)
