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
from chat.answers.slices import slice_seconds
from chat.answers.streams import SILENCE_SECONDS
from chat.answers.sweeping import mark_interrupted
from chat.models import Message

logger = logging.getLogger(__name__)

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
        self.is_dead = False
        self._seen_over = False

    def is_over(self, status: str, valkey_is_down: bool) -> bool:
        """Whether to stop waiting for events, given the answer's status in the database.

        An answer is stored before its last events are in Valkey: they get time until the next look.
        """
        waited, self._seen_over = self._seen_over, status != Message.Status.RUNNING
        return self._seen_over and (waited or valkey_is_down)


class Board:
    """One thread writes what is produced here and reads what is followed here: one round trip to Valkey per tick.

    Another one speaks with the database, which may let it wait for seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[UUID, RunningAnswer] = {}
        self._mirrors: dict[UUID, Mirror] = {}
        self._work = threading.Event()
        self._look_now = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._last_stop = b""
        self._valkey_failed = False
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

    # --- The threads --------------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        self._work.set()
        with self._lock:
            for name, target in (("answers", self._flush), ("answers-database", self._look_after)):
                if name not in self._threads:
                    thread = threading.Thread(target=target, name=name, daemon=True)
                    thread.start()
                    self._threads[name] = thread

    def _flush(self) -> None:
        while True:
            self._work.wait()
            started = time.monotonic()
            try:
                if started >= self._valkey_again_at:
                    self._exchange(started)
                self._clear(started)
            except Exception:
                logger.exception("the answers' flusher failed; it goes on")
            time.sleep(max(0.0, started + slice_seconds(len(self._running)) - time.monotonic()))

    def _look_after(self) -> None:
        while True:
            self._work.wait()
            try:
                self._bury_dead()
                self._check_database()
            except DATABASE_AWAY as error:
                logger.warning("running answers cannot be checked, the database is down: %s", type(error).__name__)
            except Exception:
                logger.exception("checking the answers failed; it goes on")
            finally:
                release_connection()
            self._look_now.wait(ALIVE_EVERY_SECONDS)
            self._look_now.clear()

    # --- Valkey -------------------------------------------------------------------------------------------------------
    def _exchange(self, now: float) -> None:
        """Write and read Valkey in one round trip. One command that it refuses counts as if it were down."""
        answers = [answer for answer in list(self._running.values()) if answer.shared]
        mirrors = [mirror for mirror in list(self._mirrors.values()) if not mirror.log.ended]
        try:
            if self._valkey_failed:  # what is there already is not given up before Valkey takes writes again
                streams.probe(streams.redis())
            with streams.redis().pipeline(transaction=False) as pipeline:
                self._ask(pipeline, mirrors)
                written = [self._write(pipeline, answer, now) for answer in answers]
                replies = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        except streams.RedisError as error:
            self._valkey_is_down(now, error)
            return
        self._valkey_failed = False
        for answer, (events, place) in zip(answers, written, strict=True):
            _note_published(answer, events, replies[place])
        self._obey_stops(replies[0])
        for mirror, entries, sign in zip(mirrors, replies[1::2], replies[2::2], strict=False):
            self._reflect(mirror, entries, sign, now)

    def _ask(self, pipeline: Any, mirrors: list[Mirror]) -> None:
        """Queue what is to be read."""
        stops_after = b"(" + self._last_stop if self._last_stop else b"-"
        pipeline.xrange(streams.stops_key(), min=stops_after)
        for mirror in mirrors:
            streams.read_after(pipeline, mirror.id, len(mirror.log))
            pipeline.get(streams.alive_key(mirror.id))
        if any(mirror.silent_since is not None for mirror in mirrors):  # silent, or not able to give a sign?
            streams.probe(pipeline)

    def _write(self, pipeline: Any, answer: RunningAnswer, now: float) -> tuple[int, slice]:
        """Queue what is new of an answer; returns how many events that is, and where the replies will stand."""
        finished = answer.finished_at is not None
        events = answer.unpublished()
        first = len(pipeline)
        streams.add(pipeline, answer.id, events)
        place = slice(first, len(pipeline))
        if finished and events:
            streams.close(pipeline, answer.id)
        elif now >= answer.alive_until:
            streams.keep_alive(pipeline, answer.id)
            answer.alive_until = now + ALIVE_EVERY_SECONDS
        return len(events), place

    def _valkey_is_down(self, now: float, error: Exception) -> None:
        if not self._valkey_failed:
            logger.warning("answers are not shared between processes, Valkey is down: %s", error)
        self._valkey_failed = True
        self._valkey_again_at = now + VALKEY_PAUSE_SECONDS
        for answer in list(self._running.values()):
            answer.alive_until = 0.0  # when it is back, all is written again: it may have come back empty
            answer.published = 0
        for mirror in list(self._mirrors.values()):
            mirror.silent_since, mirror.is_dead = None, False

    def _obey_stops(self, entries: streams.Entries) -> None:
        for number, fields in entries:
            self._last_stop = number
            if b"answer" not in fields:
                self._look_now.set()
            elif answer := self.get(UUID(fields[b"answer"].decode())):
                answer.stop.set(StopReason.STOPPED)

    def _reflect(self, mirror: Mirror, entries: streams.Entries, sign: bytes | None, now: float) -> None:
        events = streams.parsed(entries, len(mirror.log))
        if events:  # what comes after a gap waits until it is filled, or the database has the whole answer
            mirror.log.extend(events)
        if mirror.log.ended or (sign is not None and not streams.is_last_sign(sign)):
            mirror.silent_since, mirror.is_dead = None, False
            return
        if mirror.silent_since is None:
            mirror.silent_since = now
        if not mirror.is_dead and (sign is not None or now - mirror.silent_since > SILENCE_SECONDS):
            mirror.is_dead = True
            self._look_now.set()

    # --- The database -------------------------------------------------------------------------------------------------
    def _bury_dead(self) -> None:
        for mirror in list(self._mirrors.values()):
            if not mirror.is_dead or mirror.log.ended:
                continue
            try:
                mark_interrupted(mirror.id)
                mirror.log.end()
            except streams.RedisError:
                logger.warning("a dead answer is not marked yet, Valkey is down")

    def _check_database(self) -> None:
        """Stop what may not go on: stopped while Valkey was down, deleted, or of a deactivated owner."""
        answers = [answer for answer in list(self._running.values()) if answer.finished_at is None]
        mirrors = list(self._mirrors.values())
        rows = Message.objects.filter(id__in=[a.id for a in answers if a.stored] + [m.id for m in mirrors])
        found = {row[0]: row[1:] for row in rows.values_list("id", "status", "stop_requested", "owner__is_active")}
        owners = get_user_model().objects.filter(id__in={answer.owner_id for answer in answers}, is_active=True)
        active = set(owners.values_list("id", flat=True))
        for answer in answers:
            if reason := _reason_to_stop(answer, found.get(answer.id), answer.owner_id in active):
                answer.stop.set(reason)
        for mirror in mirrors:
            status, _, is_active = found.get(mirror.id, ("deleted", False, False))
            if not is_active or mirror.is_over(status, self._valkey_failed):
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


def _note_published(answer: RunningAnswer, events: int, replies: list[Any]) -> None:
    """Valkey took the events, or had lost the stream: then it gets all again.

    Not what is over: its stream may have been removed because a document that it quotes was deleted.
    """
    lost = None in replies
    answer.published = 0 if lost and answer.finished_at is None else answer.published + events


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
