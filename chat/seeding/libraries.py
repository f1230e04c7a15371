"""Made documents with their texts, chunks and collections; no file stands behind them."""

import hashlib
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
from chat.seeding.vectors import Vectors
from documents.models import Collection
from ragsite.copying import copy_rows

BATCH = 2000
"""Chunks a transaction, about."""
SENTENCES = 5
CHUNKS_OF_A_PAGE = 3
KINDS = {
    "application/pdf": ("pdf", 50),
    "text/markdown": ("md", 20),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("docx", 15),
    "text/html": ("html", 10),
    "text/plain": ("txt", 5),
}
FAILED = 0.03
IN_A_COLLECTION = 0.4
DOCUMENT_COLUMNS = (
    "id", "owner_id", "filename", "content_type", "size", "sha256", "file", "status", "searchable", "title", "language",
    "page_count", "page_kind", "warnings", "chunk_count", "stage_progress", "stage_seconds", "error_code",
    "error_detail", "error_retryable", "uploaded_at", "processed_at", "updated_at", "attempts", "crashes",
    "waiting_for", "due_at",
)  # fmt: skip
TEXT_COLUMNS = ("document_id", "owner_id", "text", "pages", "blocks")
CHUNK_COLUMNS = (
    "owner_id", "document_id", "position", "kind", "start", "end", "page", "headings", "title", "text", "token_count",
    "language", "sample_key",
)  # fmt: skip
MEMBERSHIP_COLUMNS = ("owner_id", "collection_id", "document_id", "created_at")
HAVE = """
SELECT count(*), coalesce(sum(chunk_count), 0) FROM documents_document WHERE owner_id = ANY (%s)
"""


@dataclass
class Library:
    """What is still to be made, and for whom."""

    owners: Sequence[int]
    documents: int
    chunks: int
    embeddings: bool

    @classmethod
    def missing(cls, owners: Sequence[int], documents: int, chunks: int, embeddings: bool) -> "Library":
        with connection.cursor() as cursor:
            cursor.execute(HAVE, [list(owners)])
            have_documents, have_chunks = cursor.fetchone()
        return cls(owners, max(0, documents - have_documents), max(0, chunks - have_chunks), embeddings)

    def make(self) -> Iterator[int]:
        """Yields the number of chunks of each committed batch."""
        sentences = texts.sentences()
        writer = Writer(sentences, _collections(self.owners), Vectors(sentences) if self.embeddings else None)
        chosen = random.choices(self.owners, shares(len(self.owners)), k=self.documents)
        for owner, moment, size in zip(chosen, times(self.documents), sizes(self.documents, self.chunks), strict=True):
            writer.add(owner, moment, size)
            if len(writer.chunks) >= BATCH:
                yield writer.flush()
        yield writer.flush()


class Writer:
    """Collects the rows of a batch and copies them in one transaction."""

    def __init__(
        self, sentences: dict[str, list[str]], collections: dict[int, list[UUID]], vectors: Vectors | None
    ) -> None:
        self.sentences = sentences
        self.vectors = vectors
        self.collections = collections
        self.topics = sorted(sentences)
        self._clear()

    def _clear(self) -> None:
        self.documents: list[tuple[Any, ...]] = []
        self.texts: list[tuple[Any, ...]] = []
        self.chunks: list[tuple[Any, ...]] = []
        self.memberships: list[tuple[Any, ...]] = []

    def add(self, owner: int, moment: datetime, size: int) -> None:
        """A document with so many chunks."""
        topic, document = random.choice(self.topics), id_at(moment)
        title = texts.title(topic)
        content_type = random.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
        paged = content_type == "application/pdf"
        blocks = self._add_chunks(owner, document, title, topic, size, paged)
        self.documents.append(_document_row(owner, document, title, content_type, moment, size, paged))
        self.texts.append((document, owner, "\n\n".join(chunk[9] for chunk in self.chunks[-size:]), *blocks))
        if random.random() < IN_A_COLLECTION and owner in self.collections:
            self.memberships.append((owner, random.choice(self.collections[owner]), document, moment))

    def _add_chunks(
        self, owner: int, document: UUID, title: str, topic: str, size: int, paged: bool
    ) -> tuple[str, str]:
        """The chunks' rows; returns pages and blocks of the text as JSON."""
        start, starts = 0, []
        blocks: list[dict[str, Any]] = []
        numbers = range(len(self.sentences[topic]))
        chosen = [random.choices(numbers, k=SENTENCES) for _ in range(size)]
        for position, sentences in enumerate(chosen):
            text = " ".join((*map(self.sentences[topic].__getitem__, sentences), texts.reference()))
            starts.append(start)
            end, page = start + len(text), position // CHUNKS_OF_A_PAGE + 1 if paged else None
            heading = (f"Part {position // 5 + 1}",)
            self.chunks.append((
                owner, document, position, "paragraph", start, end, page, heading, title, text, len(text) // 4, "en",
                random.randrange(1 << 31),
            ))  # fmt: skip
            blocks.append({"kind": "paragraph", "start": start, "end": end, "level": None, "page": page})
            start = end + 2
        if self.vectors:
            self.vectors.add(owner, document, topic, chosen, starts)
        return json.dumps(_pages(blocks) if paged else []), json.dumps(blocks)

    def flush(self) -> int:
        with transaction.atomic():
            copy_rows("documents_document", DOCUMENT_COLUMNS, self.documents)
            copy_rows("documents_text", TEXT_COLUMNS, self.texts)
            copy_rows("documents_chunk", CHUNK_COLUMNS, self.chunks)
            copy_rows("documents_membership", MEMBERSHIP_COLUMNS, self.memberships)
            if self.vectors:
                self.vectors.flush()
        made = len(self.chunks)
        self._clear()
        return made


def _document_row(
    owner: int, document: UUID, title: str, content_type: str, moment: datetime, size: int, paged: bool
) -> tuple[Any, ...]:
    failed = random.random() < FAILED
    done = moment + timedelta(seconds=size / 10)
    return (
        document, owner, texts.filename(title, KINDS[content_type][0]), content_type, size * 500 + 40,
        hashlib.sha256(document.bytes).digest(), f"{owner}/{document}/none", "failed" if failed else "processed",
        not failed, title, "en", -(-size // CHUNKS_OF_A_PAGE) if paged else None, "page", "[]", size,
        0 if failed else 1, '{"extracting": 0.1, "chunking": 0.1, "embedding": 1.2}', "encrypted" if failed else "",
        "The file is encrypted." if failed else "", False, moment, None if failed else done, done, 0, 0, "", moment,
    )  # fmt: skip


def _pages(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups = [blocks[first : first + CHUNKS_OF_A_PAGE] for first in range(0, len(blocks), CHUNKS_OF_A_PAGE)]
    return [
        {"number": number, "start": group[0]["start"], "end": group[-1]["end"]}
        for number, group in enumerate(groups, 1)
    ]


def _collections(owners: Sequence[int]) -> dict[int, list[UUID]]:
    found: dict[int, list[UUID]] = {}
    for owner, collection in Collection.objects.filter(owner__in=owners).values_list("owner_id", "id"):
        found.setdefault(owner, []).append(collection)
    return found
