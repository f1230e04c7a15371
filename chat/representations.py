"""Conversations, messages and citations as the API's JSON (plain types only, so that every encoder takes them)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from chat.models import Citation, Conversation, Message
from documents.places import place_json

DELETED_NOTE = "The document was deleted."
EARLIER_NOTE = "Quoted from an earlier version of this document."


def timestamp(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def citation_json(citation: Citation) -> dict[str, Any]:
    """A citation of a deleted document keeps its place in the answer and says so.

    So does one of a document that a newer version has replaced; it keeps its quote and names the new one.
    """
    deleted = citation.document_id is None
    return {
        "marker": citation.marker,
        "document": None if deleted or citation.earlier_version else str(citation.document_id),
        "replaced_by": str(citation.document_id) if citation.earlier_version and not deleted else None,
        "filename": citation.filename,
        "page": citation.page,
        **place_json(citation),
        "headings": citation.headings,
        "table_header": citation.table_header,
        "start": citation.start,
        "end": citation.end,
        "answer_start": citation.answer_start,
        "answer_end": citation.answer_end,
        "quote": citation.quote,
        "verified": citation.verified,
        "note": DELETED_NOTE if deleted else EARLIER_NOTE if citation.earlier_version else "",
    }


def message_json(message: Message, content: str, citations: Iterable[Citation]) -> dict[str, Any]:
    """The message, given what it says and cites."""
    failed = message.status == Message.Status.FAILED
    counted = message.prompt_tokens is not None
    return {
        "id": str(message.id),
        "conversation": str(message.conversation_id) if message.conversation_id else None,
        "role": message.role,
        "content": content,
        "status": message.status,
        "citations": [citation_json(citation) for citation in citations],
        "cached": message.cached,
        "timings": message.timings,
        "engine": message.engine,
        "model": message.model,
        "usage": {"prompt_tokens": message.prompt_tokens, "completion_tokens": message.completion_tokens}
        if counted
        else None,
        "support": support_json(message.support),
        "error": {"code": message.error_code, "detail": message.error_detail} if failed else None,
        "created_at": timestamp(message.created_at),
    }


def support_json(support: dict[str, Any] | None) -> dict[str, Any] | None:
    """With the share, which is what people look at."""
    return support and {**support, "share": round(support["supported"] / support["claims"], 3)}


def whole_message_json(message: Message) -> dict[str, Any]:
    """The same of a row read by ``Message.objects.whole()``."""
    body = getattr(message, "body", None)  # an answer has none before its end
    return message_json(message, body.content if body else "", message.citations.all())


def conversation_json(conversation: Conversation, scope: dict[str, Any]) -> dict[str, Any]:
    """``scope`` as ``chat.scopes.visible_scopes`` gives it."""
    return {
        "id": str(conversation.id),
        "title": conversation.title,
        "pinned": conversation.pinned,
        "archived": conversation.archived_at is not None,
        "documents": scope["documents"],
        "collections": scope["collections"],
        "language_model": conversation.language_model,
        "style": conversation.style,
        "created_at": timestamp(conversation.created_at),
        "updated_at": timestamp(conversation.updated_at),
    }
