"""All answers of this process: those produced here, and those of other processes that readers here follow."""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from chat.answers import streams
from chat.answers.connections import DATABASE_AWAY, release_connection
from chat.answers.log import EventLog
from chat.answers.running import RunningAnswer, StopReason
from chat.answers.streams import SILENCE_SECONDS
from chat.answers.sweeping import mark_interrupted
from chat.models import Message

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.06
ALIVE_EVERY_SECONDS = 3.0
"""How often the sign of life is renewed, and the database is asked whether an answer may go on."""
VALKEY_PAUSE_SECONDS = 1.0
KEPT_UNPUBLISHED_SECONDS = 60.0


class Mirror:
    """An answer that another process produces, as far as its events have come here."""

    def __init__(self, identifier: UUID) -> None:
        self.id = identifier
        self.log = EventLog()
        self.readers = 0
        self.silent_since: float | None = None
        self._seen_over = False

    def is_over(self, status: str, valkey_is_down: bool) -> bool:
        """Whether to stop waiting for events, given the answer's status in the database.

        An answer is stored before its last events are in Valkey: they get time until the next look.
        """
        waited, self._seen_over = self._seen_over, status != Message.Status.RUNNING
        return self._seen_over and (waited or valkey_is_down)


class Board:
    """One thread writes what is produced here and reads what is followed here: one round trip to Valkey per tick."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[UUID, RunningAnswer] = {}
        self._mirrors: dict[UUID, Mirror] = {}
        self._work = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_stop = b""
        self._checked_at = 0.0
        self._valkey_again_at = 0.0

    # --- What others ask of it ----------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return sum(answer.finished_at is None for answer in list(self._running.values()))

    def add(self, answer: RunningAnswer) -> None:
        with self._lock:
            self._running[answer.id] = answer
        self._wake()

    def finished(self, answer: RunningAnswer) -> None:
        """The answer's last event is in its log."""
        answer.finished_at = time.monotonic()
        self._wake()

    def remove(self, answer: RunningAnswer) -> None:
        """An answer that could not begin."""
        with self._lock:
            self._running.pop(answer.id, None)

    def get(self, identifier: UUID) -> RunningAnswer | None:
        return self._running.get(identifier)

    def forget(self, identifiers: Iterable[UUID]) -> None:
        """Share nothing more of these answers, and remove what was shared."""
        answers = list(identifiers)
        for identifier in answers:
            if answer := self.get(identifier):
                answer.shared = False
        streams.forget(answers)

    def stop_all(self, reason: StopReason) -> None:
        for answer in list(self._running.values()):
            answer.stop.set(reason)

    @contextmanager
    def following(self, identifier: UUID) -> Iterator[EventLog]:
        """The log of an answer, produced here or elsewhere."""
        if answer := self.get(identifier):
            yield answer.log
            return
        with self._lock:
            mirror = self._mirrors.setdefault(identifier, Mirror(identifier))
            mirror.readers += 1
        self._wake()
        try:
            yield mirror.log
        finally:
            with self._lock:
                mirror.readers -= 1

    # --- The thread ---------------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        self._work.set()
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="answers", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._work.wait()
            started = time.monotonic()
            try:
                self._tick(started)
            except Exception:
                logger.exception("the answers' flusher failed; it goes on")
            time.sleep(max(0.0, started + TICK_SECONDS - time.monotonic()))

    def _tick(self, now: float) -> None:
        if now >= self._valkey_again_at:
            self._exchange(now)
        if now >= self._checked_at + ALIVE_EVERY_SECONDS:
            self._checked_at = now
            self._check_database()
        self._clear(now)

    def _exchange(self, now: float) -> None:
        """Write and read Valkey in one round trip."""
        answers = [answer for answer in list(self._running.values()) if answer.shared]
        mirrors = [mirror for mirror in list(self._mirrors.values()) if not mirror.log.ended]
        try:
            with streams.redis().pipeline(transaction=False) as pipeline:
                stops_after = b"(" + self._last_stop if self._last_stop else b"-"
                pipeline.xrange(streams.stops_key(), min=stops_after)
                for mirror in mirrors:
                    streams.read_after(pipeline, mirror.id, len(mirror.log))
                    pipeline.exists(streams.alive_key(mirror.id))
                written = [(answer, self._write(pipeline, answer, now)) for answer in answers]
                replies = pipeline.execute(raise_on_error=False)
        except streams.RedisError as error:
            self._valkey_is_down(now, error)
            return
        for answer, published in written:
            answer.published = published
        self._obey_stops(replies[0])
        for mirror, entries, alive in zip(mirrors, replies[1::2], replies[2::2], strict=False):
            self._reflect(mirror, entries, alive, now)

    def _write(self, pipeline: Any, answer: RunningAnswer, now: float) -> int:
        """Queue what is new of an answer; returns how many of its events are there afterwards."""
        finished = answer.finished_at is not None
        events = answer.unpublished()
        streams.add(pipeline, answer.id, events)
        if finished and events:
            streams.close(pipeline, answer.id)
        elif now >= answer.alive_until:
            streams.keep_alive(pipeline, answer.id)
            answer.alive_until = now + ALIVE_EVERY_SECONDS
        return answer.published + len(events)

    def _valkey_is_down(self, now: float, error: Exception) -> None:
        logger.warning("answers are not shared between processes, Valkey is down: %s", type(error).__name__)
        self._valkey_again_at = now + VALKEY_PAUSE_SECONDS
        for answer in list(self._running.values()):
            answer.alive_until = 0.0  # when it is back, all is written again: it may have come back empty
            answer.published = 0
        for mirror in list(self._mirrors.values()):
            mirror.silent_since = None

    def _obey_stops(self, entries: streams.Entries | Exception) -> None:
        if isinstance(entries, Exception):
            return
        for number, fields in entries:
            self._last_stop = number
            if answer := self.get(UUID(fields[b"answer"].decode())):
                answer.stop.set(StopReason.STOPPED)

    def _reflect(
        self, mirror: Mirror, entries: streams.Entries | Exception, alive: int | Exception, now: float
    ) -> None:
        if isinstance(entries, Exception) or isinstance(alive, Exception):
            return
        events = streams.parsed(entries)
        if events and events[0].id == len(mirror.log) + 1:  # else Valkey lost a part: the database will have it whole
            mirror.log.extend(events)
        if alive or mirror.log.ended:
            mirror.silent_since = None
        elif mirror.silent_since is None:
            mirror.silent_since = now
        elif now - mirror.silent_since > SILENCE_SECONDS:
            self._bury(mirror)

    def _bury(self, mirror: Mirror) -> None:
        try:
            mark_interrupted(mirror.id)
            mirror.log.end()
        finally:
            release_connection()

    def _check_database(self) -> None:
        """Stop what may not go on: stopped while Valkey was down, deleted, or of a deactivated owner."""
        answers = [answer for answer in list(self._running.values()) if answer.finished_at is None]
        mirrors = list(self._mirrors.values())
        try:
            rows = Message.objects.filter(id__in=[a.id for a in answers if a.stored] + [m.id for m in mirrors])
            found = {row[0]: row[1:] for row in rows.values_list("id", "status", "stop_requested", "owner__is_active")}
            owners = get_user_model().objects.filter(id__in={answer.owner_id for answer in answers}, is_active=True)
            active = set(owners.values_list("id", flat=True))
        except DATABASE_AWAY as error:
            logger.warning("running answers cannot be checked, the database is down: %s", type(error).__name__)
            return
        finally:
            release_connection()
        for answer in answers:
            if reason := _reason_to_stop(answer, found.get(answer.id), answer.owner_id in active):
                answer.stop.set(reason)
        for mirror in mirrors:
            status, _, is_active = found.get(mirror.id, ("deleted", False, False))
            if not is_active or mirror.is_over(status, valkey_is_down=self._valkey_again_at > self._checked_at):
                mirror.log.end()

    def _clear(self, now: float) -> None:
        """Forget what is over; rest when nothing is left."""
        with self._lock:
            for answer in list(self._running.values()):
                if _is_over(answer, now):
                    del self._running[answer.id]
            for mirror in list(self._mirrors.values()):
                if mirror.readers == 0:
                    del self._mirrors[mirror.id]
            if not self._running and not self._mirrors:
                self._work.clear()


def _reason_to_stop(
    answer: RunningAnswer, row: tuple[str, bool, bool] | None, owner_is_active: bool
) -> StopReason | None:
    if not owner_is_active:
        return StopReason.FORBIDDEN
    if not answer.stored:
        return None
    if row is None:
        return StopReason.DELETED
    return StopReason.STOPPED if row[1] else None


def _is_over(answer: RunningAnswer, now: float) -> bool:
    if answer.finished_at is None:
        return False
    published = not answer.shared or answer.published == len(answer.log)
    return published or now - answer.finished_at > KEPT_UNPUBLISHED_SECONDS


_boards: dict[int, Board] = {}


def board() -> Board:
    """This process's board: a forked child does not have its parent's thread."""
    return _boards.setdefault(os.getpid(), Board())
