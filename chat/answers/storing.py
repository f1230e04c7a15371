"""Writing down what an answer has come to."""

import json
import logging
import time
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.utils import timezone

from chat import statements
from chat.answers.connections import DATABASE_AWAY, release_connection
from chat.answers.draft import Draft
from chat.bodies import MAY_QUOTE, body_of, index_words_of, without_quotes
from chat.caching import changes_of_conversation, conversation_changed
from chat.models import Citation, Conversation, Message, MessageBody, RetrievalTrace
from chat.representations import message_json, whole_message_json
from chat.statements import CITED
from ragsite.rows import changing_at_once

logger = logging.getLogger(__name__)

PAUSES = (0.2, 1.0, 3.0, 6.0)
"""Seconds before the next try while the database is away; after the last one the sweep takes over."""

VERIFY = """
SELECT c.marker, substr(t.text, c.start + 1, c.length) = c.quote, v.document_id
FROM unnest(%(markers)s::int[], %(documents)s::uuid[], %(starts)s::int[], %(lengths)s::int[], %(quotes)s::text[])
  AS c (marker, document_id, start, length, quote)
LEFT JOIN documents_text t ON t.owner_id = %(owner)s AND t.document_id = c.document_id
LEFT JOIN documents_earlierversion v ON v.owner_id = %(owner)s AND v.id = c.document_id
WHERE t.document_id IS NOT NULL OR v.document_id IS NOT NULL
"""


class Gone(Exception):
    """The answer's row was deleted while it was being written."""


def store_answer(
    message_id: UUID, owner_id: int, scope: dict[str, Any], draft: Draft, begun: Message | None = None
) -> dict[str, Any]:
    """Store the answer and return it as JSON. With its row as it was put in, that takes two round trips and not nine.

    Tries again while the database is away. Raises Gone, and a database error when it stays away.
    """
    failed_before = False
    for pause in (*PAUSES, None):
        try:
            return _store(message_id, owner_id, scope, draft, begun)
        except Gone:
            if failed_before and (stored := _stored_already(message_id, owner_id, draft)):
                return stored
            raise
        except DATABASE_AWAY as error:
            if pause is None:
                raise
            failed_before = True
            logger.warning("an answer cannot be stored yet: %s", error)
            release_connection()
            time.sleep(pause)
    raise AssertionError  # the last round returns or raises


def _stored_already(message_id: UUID, owner_id: int, draft: Draft) -> dict[str, Any] | None:
    """The answer, when a try before was committed and the database died before it could say so."""
    stored = Message.objects.whole(owner_id).filter(id=message_id, status=draft.status).first()
    return whole_message_json(stored) if stored else None


def _store(
    message_id: UUID, owner_id: int, scope: dict[str, Any], draft: Draft, begun: Message | None
) -> dict[str, Any]:
    stored = _store_running(begun, scope, draft) if begun else None
    return stored or _store_locked(message_id, owner_id, scope, draft)


def _store_running(message: Message, scope: dict[str, Any], draft: Draft) -> dict[str, Any] | None:
    """The same in one message to the server, of an answer that is running still; None where nothing was stored.

    Nothing is, where it is running no more, its conversation is gone, or a document that it cites was deleted after it
    was looked for: ``_store_locked`` finds out.
    """
    citations = verified_citations(message.owner_id, draft.citations)
    content = without_deleted(draft.text, draft.engine, draft.citations, citations)
    draft.note_time("total")
    values = _values(message, content, scope, draft)
    for number, citation in enumerate(citations):
        values |= {f"{name}{number}": getattr(citation, name) for name in CITED}
    try:
        with (
            changing_at_once(*changes_of_conversation(message.owner_id, message.conversation_id)),
            connection.cursor() as cursor,
        ):
            cursor.execute(statements.store_answer(len(citations)), values)
    except (IntegrityError, InternalError, DataError):
        return None
    _fill(message, draft)
    return message_json(message, content, citations)


def _values(message: Message, content: str, scope: dict[str, Any], draft: Draft) -> dict[str, Any]:
    """What ``statements.store_answer`` stores, but for the citations."""
    passages = [passage.as_json() for passage in draft.passages]
    return {
        **{name: getattr(draft, name) for name in FILLED},
        "timings": json.dumps(draft.timings),
        "support": None if draft.support is None else json.dumps(draft.support),
        "message": message.id,
        "owner": message.owner_id,
        "conversation": message.conversation_id,
        "content": content,
        "words": index_words_of(content),
        "query": draft.query,
        "scope": json.dumps(scope),
        "passages": json.dumps(passages),
        "now": timezone.now(),
    }


@transaction.atomic
def _store_locked(message_id: UUID, owner_id: int, scope: dict[str, Any], draft: Draft) -> dict[str, Any]:
    """One short transaction. A document that is deleted in this moment makes it fail, and the next try omits it."""
    unfinished = [Message.Status.RUNNING, Message.Status.INTERRUPTED]
    message = (
        Message.objects.filter(id=message_id, owner_id=owner_id, status__in=unfinished).select_for_update().first()
    )
    if message is None:
        raise Gone
    if message.status == Message.Status.INTERRUPTED:
        _take_back(message)
    draft.note_time("total")
    _fill(message, draft)
    message.save(update_fields=FILLED)
    citations = verified_citations(owner_id, draft.citations)
    content = without_deleted(draft.text, draft.engine, draft.citations, citations)
    body_of(message, content).save(force_insert=True)
    Citation.objects.bulk_create(citations)
    _trace(message, scope, draft).save(force_insert=True)
    Conversation.objects.filter(owner_id=owner_id, id=message.conversation_id).update(updated_at=timezone.now())
    conversation_changed(owner_id, message.conversation_id)
    return message_json(message, content, citations)


def _take_back(message: Message) -> None:
    """What the sweep has stored of an answer whose producer it took for dead."""
    for model in (MessageBody, Citation, RetrievalTrace):
        model.objects.filter(owner_id=message.owner_id, message_id=message.id).delete()


def _trace(message: Message, scope: dict[str, Any], draft: Draft) -> RetrievalTrace:
    passages = [passage.as_json() for passage in draft.passages]
    return RetrievalTrace(
        owner_id=message.owner_id, message_id=message.id, query=draft.query, scope=scope, passages=passages
    )


FILLED = (
    "status",
    "engine",
    "model",
    "error_code",
    "error_detail",
    "timings",
    "prompt_tokens",
    "completion_tokens",
    "support",
    "cached",
)


def _fill(message: Message, draft: Draft) -> None:
    for name in FILLED:
        setattr(message, name, getattr(draft, name))


def without_deleted(text: str, engine: str, cited: list[Citation], kept: list[Citation]) -> str:
    """The answer without what it quotes from documents that were deleted while it was written."""
    gone = [citation.quote for citation in cited if citation not in kept]
    return without_quotes(text, gone) if engine in MAY_QUOTE else text


def verified_citations(owner_id: int, citations: list[Citation]) -> list[Citation]:
    """The citations whose document is still there, each checked against the document's text.

    One whose document was replaced by a newer version meanwhile points at that one, as those stored before do.
    """
    if not citations:
        return []
    columns: dict[str, Any] = {
        "owner": owner_id,
        "markers": [c.marker for c in citations],
        "documents": [str(c.document_id) for c in citations],
        "starts": [c.start for c in citations],
        "lengths": [c.end - c.start for c in citations],
        "quotes": [c.quote for c in citations],
    }
    with connection.cursor() as cursor:
        cursor.execute(VERIFY, columns)
        found = {marker: (verbatim, newer) for marker, verbatim, newer in cursor.fetchall()}
    kept = [citation for citation in citations if citation.marker in found]
    for citation in kept:
        citation.pk = None  # a try before this one may have set it
        _judge(citation, *found[citation.marker])
    return kept


def _judge(citation: Citation, verbatim: bool | None, newer: UUID | None) -> None:
    if newer:
        citation.document_id, citation.earlier_version = newer, True
    elif not citation.earlier_version:  # else its text is gone; it was a copy of it when the answer was written
        citation.verified = bool(verbatim)


def unstored_answer(identifier: UUID, owner_id: int, draft: Draft) -> dict[str, Any]:
    """The JSON of an answer that belongs to no conversation."""
    message = Message(id=identifier, owner_id=owner_id, role=Message.Role.ASSISTANT)
    draft.note_time("total")
    _fill(message, draft)
    return {**message_json(message, draft.text, draft.citations), "finish_reason": draft.finish_reason or "stop"}
