"""The threads that produce answers."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from chat.answers import endings, events, kept
from chat.answers.board import board
from chat.answers.connections import DATABASE_AWAY, release_connection
from chat.answers.draft import Draft
from chat.answers.followups import leans_on_before
from chat.answers.measuring import note_ending
from chat.answers.question import Question
from chat.answers.retrieval import Vector, retrieve
from chat.answers.running import RunningAnswer, Stopped, StopReason
from chat.answers.storing import Gone, store_answer, unstored_answer
from chat.answers.threads import threads
from chat.answers.writer import AnswerTooLong, Writer
from chat.engines import Engine, EngineError, Request, engine_for
from chat.engines.rewriting import Completes, rewritten
from chat.intents.answering import passages_of, wished, write_wish
from chat.models import Message
from chat.scopes import scope_json
from ragsite import origin, tracing
from ragsite.metrics import record

logger = logging.getLogger(__name__)

STATUS_BY_REASON = {
    StopReason.STOPPED: Message.Status.STOPPED,
    StopReason.FORBIDDEN: Message.Status.STOPPED,
    StopReason.INTERRUPTED: Message.Status.INTERRUPTED,
}

_free_slots = threading.BoundedSemaphore(settings.ANSWERS_AT_ONCE)


class TooBusy(Exception):
    """As many answers are being produced here as this process may."""


class Slot:
    """The right to produce one answer."""

    def __init__(self) -> None:
        self.used = False

    def produce(self, answer: RunningAnswer, question: Question) -> None:
        """Begin; the answer goes on in another thread. Raises TooBusy where none can be had."""
        try:
            board().add(answer)
            threads().run(partial(_run, answer, question))
        except (RuntimeError, MemoryError) as error:
            logger.warning("an answer cannot begin: %s", error)
            _refuse(answer, question)
            raise TooBusy from error
        self.used = True


@contextmanager
def reserved() -> Iterator[Slot]:
    """A slot, given back unless it is used. Raises TooBusy."""
    if not _free_slots.acquire(blocking=False):
        raise TooBusy
    slot = Slot()
    try:
        yield slot
    finally:
        if not slot.used:
            _free_slots.release()


def _run(answer: RunningAnswer, question: Question) -> None:
    try:
        with origin.continued(answer.origin), tracing.continued(answer.trace, "answer", answer=str(answer.id)):
            draft = Draft()
            _produce(answer, question, draft)
            _end(answer, question, draft)
            note_ending(answer, draft)
    finally:
        board().finished(answer)
        release_connection()
        _free_slots.release()


def _refuse(answer: RunningAnswer, question: Question) -> None:
    """End an answer that cannot begin: its row must not say for ever that it is running."""
    draft = Draft()
    draft.fail("too_busy", "Too many answers were being written at that moment.")
    _end(answer, question, draft)
    board().remove(answer)


def _produce(answer: RunningAnswer, question: Question, draft: Draft) -> None:
    """Fill the draft; whatever happens on the way is its outcome."""
    writer = Writer(answer, draft)
    try:
        try:
            _retrieve_and_write(answer, question, draft, writer)
        finally:
            writer.finish()
    except Stopped as stop:
        draft.status = STATUS_BY_REASON.get(stop.reason, Message.Status.STOPPED)
    except EngineError as error:
        draft.fail(error.code, error.detail)
    except AnswerTooLong:
        draft.fail("answer_too_long", "The model did not come to an end.")
    except DATABASE_AWAY:
        logger.exception("no passages for the answer %s", answer.id)
        draft.fail("database_unavailable", "The database did not answer.")
    except Exception:
        logger.exception("the answer %s failed", answer.id)
        draft.fail("internal_error", "Something went wrong here; it was logged.")


def _retrieve_and_write(answer: RunningAnswer, question: Question, draft: Draft, writer: Writer) -> None:
    engine = engine_for(question.language_model, question.style)
    draft.engine, draft.model, draft.query = engine.name, engine.model, question.text
    answer.emit(events.STATUS, {"message": str(answer.id), "stage": "searching"})
    record.first_event(answer.age)
    if wish := wished(question, engine, answer.stop):
        draft.passages = passages_of(wish, engine)
        _show_passages(answer, draft)
        write_wish(wish, question, engine, answer, draft, writer)
        return
    seen = kept.look_up(question, engine, answer.stop)
    if seen.value is not None and not question.fresh and answer.stored:
        kept.recall(seen.value, draft)
        _show_passages(answer, draft)
        kept.write_again(seen.value, writer)
        return
    vector = _compute(answer, question, engine, draft, writer)
    if vector is not None:  # without one it rests on words alone, and the next may do better
        writer.finish()
        kept.remember(seen, draft)


def _compute(answer: RunningAnswer, question: Question, engine: Engine, draft: Draft, writer: Writer) -> Vector | None:
    """Search and write; returns the question's vector."""
    question = _self_contained(answer, question, engine, draft)
    draft.query = question.query
    draft.passages, vector = retrieve(question, engine.passages_wanted, answer.stop)
    _show_passages(answer, draft)
    request = Request(
        question.text,
        draft.query,
        tuple(draft.passages),
        question.history,
        question.instructions,
        question.style,
        vector,
    )
    engine.answer(request, writer)
    return vector


def _show_passages(answer: RunningAnswer, draft: Draft) -> None:
    draft.note_time("retrieval")
    with answer.together():
        answer.emit(events.PASSAGES, {"passages": [passage.as_json() for passage in draft.passages]})
        answer.emit(events.STATUS, {"message": str(answer.id), "stage": "reading"})


def _self_contained(answer: RunningAnswer, question: Question, engine: Engine, draft: Draft) -> Question:
    """A follow-up as the model understands it; by rules where there is no model or it fails."""
    if not (question.history and isinstance(engine, Completes) and leans_on_before(question.text)):
        return question
    found = rewritten(engine, question.text, question.history, answer.owner_id, answer.stop)
    draft.note_time("rewrite")
    draft.model_seconds += draft.timings["rewrite"]
    return replace(question, rewritten=found)


def _end(answer: RunningAnswer, question: Question, draft: Draft) -> None:
    """Store what was written, then tell the readers; those of an answer that cannot be stored learn that."""
    try:
        _store_and_tell(answer, question, draft)
    except Exception:
        logger.exception("the answer %s ended without being stored", answer.id)
        answer.emit(*endings.NOT_STORED)
        draft.fail("not_stored", "")


def _store_and_tell(answer: RunningAnswer, question: Question, draft: Draft) -> None:
    if not answer.stored:
        answer.emit(*_ending(answer, unstored_answer(answer.id, answer.owner_id, draft)))
        return
    try:
        message = store_answer(answer.id, answer.owner_id, scope_json(question.scope), draft, answer.begun)
    except Gone:
        board().forget([answer.id])
        answer.emit(*endings.DELETED)
        return
    finally:
        release_connection()
    if len(message["citations"]) < len(draft.citations):  # of a document deleted meanwhile: the events have its words
        board().forget([answer.id])
    answer.emit(*_ending(answer, message))


def _ending(answer: RunningAnswer, message: dict[str, Any]) -> endings.Ending:
    """Who was deactivated learns that, and no more of the answer."""
    return endings.FORBIDDEN if answer.stop.reason is StopReason.FORBIDDEN else endings.of_message(message)


def interrupt_all(seconds: float = 4.0) -> None:
    """Store what all running answers have come to, as interrupted, within this time: the process is going down."""
    board().stop_all(StopReason.INTERRUPTED)
    deadline = time.monotonic() + seconds
    while len(board()) and time.monotonic() < deadline:
        time.sleep(0.02)
