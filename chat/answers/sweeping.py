"""Answers whose producer died: marked as interrupted, with what was written."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from chat.answers import events, streams
from chat.answers.storing import verified_citations
from chat.answers.streams import SILENCE_SECONDS
from chat.bodies import save_body
from chat.models import Citation, Message

logger = logging.getLogger(__name__)

YOUNG = timedelta(seconds=streams.ALIVE_SECONDS)
"""An answer this young may not have given its first sign of life."""
SUSPECT_SECONDS = 120


def sweep() -> int:
    """Mark running answers that have been without a sign of life for long enough; returns how many."""
    old = Message.objects.running().filter(created_at__lt=timezone.now() - YOUNG)
    try:
        dead = [identifier for identifier in old.values_list("id", flat=True) if _is_dead(identifier)]
    except streams.RedisError:
        return 0
    return sum(mark_interrupted(identifier) for identifier in dead)


def bury_if_dead(answer: Message) -> bool:
    """Mark one running answer, by the same rule; returns whether it was dead."""
    if answer.created_at > timezone.now() - YOUNG:
        return False
    try:
        dead = _is_dead(answer.id)
    except streams.RedisError:
        return False
    if dead:
        mark_interrupted(answer.id)
    return dead


def _is_dead(identifier: UUID) -> bool:
    """Whether no sign of life was seen now and some seconds ago. Raises RedisError.

    Two looks, because after a restart of Valkey all signs are missing until the producers renew them (3 s). Each look
    writes: where Valkey takes no writes, nobody can give a sign, and this look fails.
    """
    redis = streams.redis()
    if redis.exists(streams.alive_key(identifier)):
        return False
    seen_since = redis.set(streams.suspect_key(identifier), b"1", ex=SUSPECT_SECONDS, nx=True, get=True)
    if seen_since is None:
        return False
    return redis.ttl(streams.suspect_key(identifier)) < SUSPECT_SECONDS - SILENCE_SECONDS


def mark_interrupted(identifier: UUID) -> bool:
    """Store what the answer's stream holds. A producer that lives after all stores its whole answer over it."""
    written = streams.read(identifier)
    text = "".join(event.data["text"] for event in written if event.name == events.TOKEN)
    with transaction.atomic():
        message = Message.objects.running().filter(id=identifier).select_for_update().first()
        if message is None:
            return False
        message.status = Message.Status.INTERRUPTED
        message.save(update_fields=["status"])
        save_body(message, text)
        Citation.objects.bulk_create(_citations(message, written))
    logger.warning("the answer %s was interrupted: its process is gone", identifier)
    return True


def _citations(message: Message, written: list[events.Event]) -> list[Citation]:
    found = [event.data["citation"] for event in written if event.name == events.CITATION]
    citations = [
        Citation(
            owner_id=message.owner_id,
            message=message,
            marker=entry["marker"],
            document_id=UUID(entry["document"]),
            **{name: entry[name] for name in ("filename", "page", "start", "end", "quote")},
        )
        for entry in found
    ]
    return verified_citations(message.owner_id, citations)
