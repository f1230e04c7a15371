"""Answers whose producer died: marked as interrupted, with what was written."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from chat.answers import events, streams
from chat.answers.storing import verified_citations, without_deleted
from chat.answers.streams import SILENCE_SECONDS
from chat.bodies import QUOTING_ENGINE, save_body
from chat.caching import conversation_changed
from chat.models import Citation, Message

logger = logging.getLogger(__name__)

YOUNG = timedelta(seconds=streams.ALIVE_SECONDS)
"""An answer this young may not have given its first sign of life."""
SUSPECT_SECONDS = 120
_PLACE = ("filename", "page", "page_kind", "page_label", "headings", "table_header", "start", "end", "quote")
KEPT = (*_PLACE, "answer_start", "answer_end")
"""Of a citation's event."""


def sweep() -> int:
    """Mark running answers whose process is gone; returns how many."""
    try:
        dead = [answer.id for answer in Message.objects.running().only("created_at") if _is_dead(answer)]
        return sum(mark_interrupted(identifier) for identifier in dead)
    except streams.RedisError:
        return 0


def bury_if_dead(answer: Message) -> bool:
    """Mark one running answer, by the same rule; returns whether it was dead."""
    try:
        if not _is_dead(answer):
            return False
        mark_interrupted(answer.id)
    except streams.RedisError:
        return False
    return True


def _is_dead(answer: Message) -> bool:
    """Whether its last sign of life is of a process that is gone, or it gave none for long. Raises RedisError."""
    sign = streams.redis().get(streams.alive_key(answer.id))
    if isinstance(sign, bytes):
        return streams.is_last_sign(sign)
    return answer.created_at < timezone.now() - YOUNG and _is_silent(answer.id)


def _is_silent(identifier: UUID) -> bool:
    """Whether a sign of life was missing some seconds ago, as it is now. Raises RedisError.

    Two looks, because after a restart of Valkey all signs are missing until the producers renew them (3 s). Each look
    writes: where Valkey takes no writes, nobody can give a sign, and this look fails.
    """
    redis = streams.redis()
    seen_since = redis.set(streams.suspect_key(identifier), b"1", ex=SUSPECT_SECONDS, nx=True, get=True)
    if seen_since is None:
        return False
    return redis.ttl(streams.suspect_key(identifier)) < SUSPECT_SECONDS - SILENCE_SECONDS


def mark_interrupted(identifier: UUID) -> bool:
    """Store what the answer's stream holds. A producer that lives after all stores its whole answer over it.

    Raises RedisError.
    """
    written = streams.read(identifier)
    owner_id = Message.objects.running().filter(id=identifier).values_list("owner_id", flat=True).first()
    with transaction.atomic():
        message = Message.objects.running().filter(owner=owner_id, id=identifier).select_for_update().first()
        if message is None:
            return False
        message.status = Message.Status.INTERRUPTED
        message.save(update_fields=["status"])
        cited = _citations(message, written)
        kept = verified_citations(message.owner_id, cited)
        save_body(message, without_deleted(_text(message.engine, written), message.engine, cited, kept))
        Citation.objects.bulk_create(kept)
        conversation_changed(message.owner_id, message.conversation_id)
    if len(kept) < len(cited):
        streams.forget([identifier])
    logger.warning("the answer %s was interrupted: its process is gone", identifier)
    return True


def _text(engine: str, written: list[events.Event]) -> str:
    """What was written; of quotes those whose citation came too: without it they could not be found and forgotten."""
    if engine == QUOTING_ENGINE:
        cited = [number for number, event in enumerate(written, 1) if event.name == events.CITATION]
        written = written[: max(cited, default=0)]
    return "".join(event.data["text"] for event in written if event.name == events.TOKEN)


def _citations(message: Message, written: list[events.Event]) -> list[Citation]:
    found = [event.data["citation"] for event in written if event.name == events.CITATION]
    return [
        Citation(
            owner_id=message.owner_id,
            message=message,
            marker=entry["marker"],
            document_id=UUID(entry["document"]),
            **{name: entry[name] for name in KEPT if entry.get(name) is not None},
        )
        for entry in found
    ]
