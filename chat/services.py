"""Writes of conversations and messages, and the start of an answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, IntegrityError, InternalError, connection, transaction
from django.utils import timezone

from chat.answers import producer, streams
from chat.answers.board import board
from chat.answers.connections import release_connection
from chat.answers.question import Question
from chat.answers.running import RunningAnswer, StopReason
from chat.answers.sweeping import bury_if_dead
from chat.bodies import index_words_of
from chat.caching import CONVERSATIONS, changes_of_conversation, conversation_changed
from chat.engines import Engine, Turn, engine_for
from chat.models import TITLE_LENGTH, Conversation, Message
from chat.scopes import instructions_for, scope_of
from chat.statements import BEGIN_CONVERSATION, CONVERSATION_WITH_TURNS, STORE_QUESTION, TURNS
from documents.search import Scope
from ragsite.rows import changing_at_once, instance, row_of

if TYPE_CHECKING:
    from ragsite.accounts.models import User

logger = logging.getLogger(__name__)

LONGEST_QUESTION = 20_000
TITLE_FROM_QUESTION = 80


class AnswerInProgress(Exception):
    """Another answer is running in the conversation."""


class ConversationGone(Exception):
    """The conversation was deleted at this moment."""


def create_conversation(
    *, owner: "User", title: str = "", scope: Scope | None = None, language_model: str = "", style: str = ""
) -> Conversation:
    """A new, empty conversation; without a title it takes one from its first question."""
    conversation = Conversation(owner=owner, title=title[:TITLE_LENGTH], language_model=language_model, style=style)
    if scope:
        _set_scope(conversation, scope)
    values = {
        "id": conversation.id,
        "owner": owner.pk,
        "title": conversation.title,
        "documents": conversation.scope_documents,
        "collections": conversation.scope_collections,
        "model": language_model,
        "style": style,
    }
    with changing_at_once(CONVERSATIONS(owner=owner.pk)):
        conversation.created_at, conversation.updated_at = row_of(BEGIN_CONVERSATION, values) or (None, None)
    conversation._state.adding, conversation._state.db = False, connection.alias
    return conversation


def update_conversation(*, conversation: Conversation, changes: dict[str, Any]) -> Conversation:
    """Change title, pinned, archived, scope, language model or style, as far as ``changes`` names them.

    Its activity stays as it was.
    """
    for name in ("title", "pinned", "language_model", "style"):
        if name in changes:
            setattr(conversation, name, changes[name])
    if "archived" in changes:
        conversation.archived_at = (conversation.archived_at or timezone.now()) if changes["archived"] else None
    if "scope" in changes:
        _set_scope(conversation, changes["scope"])
    scope = ["scope_documents", "scope_collections"]
    with transaction.atomic():
        conversation.save(update_fields=["title", "pinned", "archived_at", "language_model", "style", *scope])
        conversation_changed(conversation.owner_id, conversation.id)
    return conversation


def _set_scope(conversation: Conversation, scope: Scope) -> None:
    conversation.scope_documents = None if scope.documents is None else list(scope.documents)
    conversation.scope_collections = None if scope.collections is None else list(scope.collections)


def delete_conversation(*, conversation: Conversation) -> None:
    """Delete a conversation with all that was said in it; an answer that is running there stops."""
    running = list(Message.objects.of(conversation).running().values_list("id", flat=True))
    with transaction.atomic():
        conversation_changed(conversation.owner_id, conversation.id)
        Conversation.objects.filter(owner=conversation.owner_id, id=conversation.id).delete()
    for identifier in running:
        if answer := board().get(identifier):
            answer.stop.set(StopReason.DELETED)
    board().forget(running)


@dataclass(frozen=True)
class Asked:
    """A question that was stored, and its answer that has begun."""

    question: Message
    message: Message
    answer: RunningAnswer


def ask(
    *,
    conversation: Conversation,
    content: str,
    scope: Scope | None = None,
    style: str | None = None,
    language_model: str | None = None,
    fresh: bool = False,
    history: tuple[Turn, ...] | None = None,
    within: Callable[[Message], None] | None = None,
) -> Asked:
    """Store the question and begin its answer, which goes on by itself. ``within`` is called in the transaction.

    What is not given of scope, style and language model is the conversation's. ``fresh``: no answer that was kept.
    ``history``: its ``recent_turns``, where they have been read already.

    Raises AnswerInProgress, ConversationGone and ``producer.TooBusy``. It leaves no database connection open.
    """
    asked_in = scope or scope_of(conversation)
    question = Question(
        content,
        asked_in,
        instructions=instructions_for(asked_in),
        language_model=conversation.language_model if language_model is None else language_model,
        style=conversation.style if style is None else style,
        fresh=fresh,
    )
    try:
        return _ask(conversation, question, history, within)
    except AnswerInProgress:
        if not _bury_dead_answer(conversation):
            raise
    return _ask(conversation, question, None, within)


def _bury_dead_answer(conversation: Conversation) -> bool:
    """Whether the answer that keeps the conversation busy was a dead process's, which the sweep is late to see."""
    running = Message.objects.of(conversation).running().first()
    return running is not None and board().get(running.id) is None and bury_if_dead(running)


def _ask(
    conversation: Conversation,
    asked: Question,
    history: tuple[Turn, ...] | None,
    within: Callable[[Message], None] | None,
) -> Asked:
    with producer.reserved() as slot:
        asked = replace(asked, history=recent_turns(conversation) if history is None else history)
        question, message = _store_question(conversation, asked, within)
        answer = RunningAnswer(message.id, conversation.owner_id, begun=message)
        slot.produce(answer, asked)
    release_connection()
    return Asked(question, message, answer)


def conversation_with_turns(owner_id: int, conversation: UUID) -> tuple[Conversation, tuple[Turn, ...]] | None:
    """The owner's conversation and its ``recent_turns``, in one round trip."""
    row = row_of(CONVERSATION_WITH_TURNS, {"owner": owner_id, "conversation": conversation})
    return (instance(Conversation, row[1:]), _in_order(row[0])) if row else None


def recent_turns(conversation: Conversation) -> tuple[Turn, ...]:
    """The last messages, oldest first."""
    row = row_of(TURNS, {"owner": conversation.owner_id, "conversation": conversation.id})
    return _in_order(row[0] if row else None)


def _in_order(newest_first: list[list[str]] | None) -> tuple[Turn, ...]:
    return tuple(Turn(role, content) for role, content in reversed(newest_first or []) if content)


def _store_question(
    conversation: Conversation, asked: Question, within: Callable[[Message], None] | None
) -> tuple[Message, Message]:
    question, answer = _new_messages(conversation, engine_for(asked.language_model, asked.style))
    values = {
        "owner": conversation.owner_id,
        "conversation": conversation.id,
        "question": question.id,
        "answer": answer.id,
        "engine": answer.engine,
        "model": answer.model,
        "asked_at": question.created_at,
        "answer_at": answer.created_at,
        "content": asked.text,
        "words": index_words_of(asked.text),
        "title": title_from(asked.text),
    }
    try:
        _write_question(conversation, values, partial(within, answer) if within else None)
    except (IntegrityError, InternalError) as error:  # the second from a shard, where several rows go in at once
        raise _refusal(error) from error
    return question, answer


def _write_question(conversation: Conversation, values: dict[str, Any], within: Callable[[], None] | None) -> None:
    """In one message to the server, or in a transaction with ``within``."""
    if not within:
        with (
            changing_at_once(*changes_of_conversation(conversation.owner_id, conversation.id)),
            connection.cursor() as cursor,
        ):
            cursor.execute(STORE_QUESTION, values)
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(STORE_QUESTION, values)
        conversation_changed(conversation.owner_id, conversation.id)
        within()


def _new_messages(conversation: Conversation, engine: Engine) -> tuple[Message, Message]:
    now = timezone.now()
    shared: dict[str, Any] = {"owner_id": conversation.owner_id, "conversation_id": conversation.id}
    question = Message(role=Message.Role.USER, created_at=now, **shared)
    answer = Message(
        role=Message.Role.ASSISTANT,
        status=Message.Status.RUNNING,
        engine=engine.name,  # known also of an answer whose producer dies
        model=engine.model,
        created_at=now + timedelta(microseconds=1),  # after its question, whatever their ids are
        **shared,
    )
    return question, answer


def _refusal(error: DatabaseError) -> Exception:
    told = str(error)  # not by diag.constraint_name: a shard gives none, and its constraints have numbers at their ends
    if '"chat_message_one_running_uniq' in told:
        return AnswerInProgress()
    return ConversationGone() if '"chat_message_conversation_fk' in told else error


def title_from(question: str) -> str:
    """The first words of a question, cut between words where there are any."""
    words = " ".join(question.split())
    if len(words) <= TITLE_FROM_QUESTION:
        return words
    cut = words[:TITLE_FROM_QUESTION]
    at_word = cut.rsplit(" ", 1)[0]
    return (at_word if len(at_word) > TITLE_FROM_QUESTION // 2 else cut) + "…"


def stop_answer(*, message: Message) -> None:
    """Stop an answer wherever it is produced; nothing happens to one that is finished."""
    running = Message.objects.filter(owner=message.owner_id, id=message.id).running()
    if not running.update(stop_requested=True):
        return
    if answer := board().get(message.id):
        answer.stop.set(StopReason.STOPPED)
        return
    try:
        streams.request_stop(message.id)
    except streams.RedisError:
        logger.warning("Valkey is down; an answer stops when its process next asks the database")


def messages_of(conversation: Conversation, identifiers: list[UUID]) -> list[Message]:
    """These messages whole, in their order."""
    return list(Message.objects.of(conversation).filter(id__in=identifiers).whole(conversation.owner_id).in_order())
