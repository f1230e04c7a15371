"""Made conversations: questions, answers, what they cite and how they came to it."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from chat.seeding import texts
from chat.seeding.plan import id_at, shares, sizes, times
from ragsite.copying import copy_rows

BATCH = 2000
"""Messages a transaction, about."""
PINNED, ARCHIVED = 0.03, 0.1
PASSAGES = 5
CITATIONS = (0, 1, 1, 2, 2, 3)
CONVERSATION_COLUMNS = ("id", "owner_id", "title", "pinned", "archived_at", "created_at", "updated_at")
MESSAGE_COLUMNS = (
    "id", "owner_id", "conversation_id", "role", "status", "stop_requested", "engine", "model", "error_code",
    "error_detail", "timings", "cached", "created_at",
)  # fmt: skip
BODY_COLUMNS = ("message_id", "owner_id", "conversation_id", "content")
CITATION_COLUMNS = (
    "owner_id", "message_id", "marker", "document_id", "filename", "page", "page_kind", "start", "end", "quote",
    "verified", "headings", "earlier_version",
)  # fmt: skip
TRACE_COLUMNS = ("message_id", "owner_id", "query", "scope", "passages")
HAVE = """
SELECT (SELECT count(*) FROM chat_conversation WHERE owner_id = ANY (%(owners)s)),
  (SELECT count(*) FROM chat_message WHERE owner_id = ANY (%(owners)s))
"""
SOURCES = """
SELECT d.id, d.filename, c.page, c."end", left(c.text, 90) FROM (
  SELECT owner_id, id, filename FROM documents_document WHERE owner_id = %(owner)s AND status = 'processed'
  ORDER BY uploaded_at DESC, id DESC LIMIT 50) d
JOIN documents_chunk c ON c.owner_id = d.owner_id AND c.document_id = d.id AND c.position = 0
"""


@dataclass(frozen=True)
class Source:
    """The first passage of a document that answers may cite."""

    document: UUID
    filename: str
    page: int | None
    end: int
    quote: str


@dataclass
class Talks:
    """What is still to be made, and for whom."""

    owners: Sequence[int]
    conversations: int
    messages: int

    @classmethod
    def missing(cls, owners: Sequence[int], conversations: int, messages: int) -> "Talks":
        with connection.cursor() as cursor:
            cursor.execute(HAVE, {"owners": list(owners)})
            have_conversations, have_messages = cursor.fetchone()
        return cls(owners, max(0, conversations - have_conversations), max(0, messages - have_messages))

    def make(self) -> Iterator[int]:
        """Yields the number of messages of each committed batch."""
        writer = Writer(_sources(self.owners), texts.sentences())
        chosen = random.choices(self.owners, shares(len(self.owners)), k=self.conversations)
        pairs = sizes(self.conversations, self.messages // 2)
        for owner, moment, size in zip(chosen, times(self.conversations), pairs, strict=True):
            writer.add(owner, moment, size)
            if len(writer.messages) >= BATCH:
                yield writer.flush()
        yield writer.flush()


class Writer:
    """Collects the rows of a batch and copies them in one transaction."""

    def __init__(self, sources: dict[int, list[Source]], sentences: dict[str, list[str]]) -> None:
        self.sources = sources
        self.sentences = sentences
        self.topics = sorted(sentences)
        self._clear()

    def _clear(self) -> None:
        self.conversations: list[tuple[Any, ...]] = []
        self.messages: list[tuple[Any, ...]] = []
        self.bodies: list[tuple[Any, ...]] = []
        self.citations: list[tuple[Any, ...]] = []
        self.traces: list[tuple[Any, ...]] = []

    def add(self, owner: int, moment: datetime, pairs: int) -> None:
        """A conversation of so many questions with their answers."""
        conversation, topic, at = id_at(moment), random.choice(self.topics), moment
        title = texts.question(topic)
        for number in range(pairs):
            question = title if number == 0 else texts.question(topic)
            self._add_message(owner, conversation, "user", at, question)
            at += timedelta(seconds=random.uniform(0.5, 3))
            self._add_answer(owner, conversation, at, question, topic)
            at += timedelta(seconds=random.expovariate(1 / 120))
        archived = at if random.random() < ARCHIVED else None
        self.conversations.append((conversation, owner, title, random.random() < PINNED, archived, moment, at))

    def _add_answer(self, owner: int, conversation: UUID, at: datetime, question: str, topic: str) -> None:
        cited = random.sample(known, min(len(known), PASSAGES)) if (known := self.sources.get(owner, [])) else []
        markers = cited[: random.choice(CITATIONS)]
        said = " ".join(
            f"{sentence} [{marker}]" if marker <= len(markers) else sentence
            for marker, sentence in enumerate(random.choices(self.sentences[topic], k=4), 1)
        )
        message = self._add_message(owner, conversation, "assistant", at, said)
        self.citations += [
            (owner, message, marker, source.document, source.filename, source.page, "page", 0, len(source.quote),
             source.quote, True, (), False)
            for marker, source in enumerate(markers, 1)
        ]  # fmt: skip
        self.traces.append((message, owner, question, '{"documents": null, "collections": null}', _passages(cited)))

    def _add_message(self, owner: int, conversation: UUID, role: str, at: datetime, content: str) -> UUID:
        message, answer = id_at(at), role == "assistant"
        self.messages.append((
            message, owner, conversation, role, "complete", False, "extractive" if answer else "", "", "", "",
            '{"retrieval": 0.02, "first_token": 0.05, "total": 0.4}' if answer else "{}", False, at,
        ))  # fmt: skip
        self.bodies.append((message, owner, conversation, content))
        return message

    def flush(self) -> int:
        with transaction.atomic():
            copy_rows("chat_conversation", CONVERSATION_COLUMNS, self.conversations)
            copy_rows("chat_message", MESSAGE_COLUMNS, self.messages)
            copy_rows("chat_messagebody", BODY_COLUMNS, self.bodies)
            copy_rows("chat_citation", CITATION_COLUMNS, self.citations)
            copy_rows("chat_retrievaltrace", TRACE_COLUMNS, self.traces)
        made = len(self.messages)
        self._clear()
        return made


def _passages(sources: Sequence[Source]) -> str:
    return json.dumps([
        {"number": number, "document": str(source.document), "page": source.page, "position": 0, "start": 0,
         "end": source.end, "score": round(random.random(), 4)}
        for number, source in enumerate(sources, 1)
    ])  # fmt: skip


def _sources(owners: Sequence[int]) -> dict[int, list[Source]]:
    found: dict[int, list[Source]] = {}
    with connection.cursor() as cursor:
        for owner in owners:
            cursor.execute(SOURCES, {"owner": owner})
            if rows := cursor.fetchall():
                found[owner] = [Source(*row) for row in rows]
    return found
