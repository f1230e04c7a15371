"""A large library made of a small real one, quickly: the real sentences of a document in new orders and numbers.

Each made chunk has some sentences of one real document, their real vectors slightly moved, and as vector of the
whole their mean, as real chunks have. One long word in five is made rare, as a growing library meets new names.
What is not real: vectors of a million chunks gather about some thousand sentences.
"""

import io
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from documents.models import EmbeddingModel
from documents.vectors import model_names
from ragsite.copying import copy_rows

CHUNKS_OF_A_DOCUMENT = 50
SENTENCES_OF_A_CHUNK = 5
DIMENSIONS = 384
TOPIC_NOISE = 0.015
"""Moves all of a document: two documents of a large library are not about the very same thing."""
NOISE = 0.01
RARE = 0.2
LONG_WORD = 7
BATCH = 200
"""Documents made at once."""
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
ROW = np.dtype(
    [("fields", ">i2")]
    + [
        field
        for name, kind, size in (
            ("owner", ">i8", 8), ("document", "V16", 16), ("position", ">i4", 4), ("part", ">i2", 2),
            ("model", ">i2", 2), ("start", ">i4", 4), ("end", ">i4", 4), ("hash", "V32", 32),
        )
        for field in ((f"{name}_size", ">i4", ()), (name, kind, ()))
    ]
    + [("vector_size", ">i4"), ("dimensions", ">u2"), ("unused", ">u2"), ("vector", ">f2", DIMENSIONS)]
)  # fmt: skip
"""A row of COPY … BINARY into documents_embedding."""
SIZES = {"owner": 8, "document": 16, "position": 4, "part": 2, "model": 2, "start": 4, "end": 4, "hash": 32}
DOCUMENTS = """
INSERT INTO documents_document (id, owner_id, filename, content_type, size, sha256, file, status, searchable, title,
  language, page_kind, warnings, chunk_count, stage_progress, stage_seconds, error_code, error_detail, error_retryable,
  updated_at, attempts, crashes, waiting_for)
SELECT id, %s, 'made-' || id || '.md', 'text/markdown', 1, uuid_send(id), '', 'processed', true, 'Made', 'en', 'page',
  '[]', %s, 1, '{}', '', '', false, now(), 0, 0, '' FROM unnest(%s::uuid[]) AS id
"""
CHUNK_COLUMNS = (
    "owner_id", "document_id", "position", "kind", "start", "end", "headings", "title", "text", "token_count",
    "language", "sample_key",
)  # fmt: skip
SENTENCES = """
SELECT e.document_id, c.title, substr(t.text, e.start + 1, e.end - e.start), e.vector::text
FROM documents_embedding e JOIN documents_chunk c USING (owner_id, document_id, position)
JOIN documents_text t USING (document_id) WHERE e.owner_id = %s AND e.start IS NOT NULL AND t.owner_id = e.owner_id
"""


@dataclass
class Source:
    """The sentences of a real document and their vectors, of shape (sentences, dimensions)."""

    title: str
    texts: list[str]
    vectors: NDArray[np.float32]


def enlarge(owner_id: int, size: int) -> None:
    """Make chunks until the owner has so many, then the indexes and statistics."""
    sources = list(_sources(owner_id))
    model = EmbeddingModel.objects.get(name=model_names()[0])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM documents_chunk WHERE owner_id = %s", [owner_id])
        missing = size - cursor.fetchone()[0]
        cursor.execute("SET maintenance_work_mem = '2GB'")
        with _without_indexes(model):
            while missing > 0:
                documents = min(BATCH, -(-missing // CHUNKS_OF_A_DOCUMENT))
                _make(owner_id, model.id, sources, documents)
                missing -= documents * CHUNKS_OF_A_DOCUMENT
        cursor.execute("VACUUM ANALYZE documents_chunk, documents_embedding, documents_document")


def _sources(owner_id: int) -> Iterator[Source]:
    with connection.cursor() as cursor:
        cursor.execute(SENTENCES, [owner_id])
        rows = cursor.fetchall()
    for document in {row[0] for row in rows}:
        own = [row for row in rows if row[0] == document]
        vectors = np.array([np.fromstring(row[3].strip("[]"), sep=",") for row in own], np.float32)
        yield Source(own[0][1], [row[2] for row in own], vectors)


class _without_indexes:
    """The two large indexes are built at the end, which takes a tenth of the time."""

    def __init__(self, model: EmbeddingModel) -> None:
        self.names = ("chunk_words_gin", f"documents_embedding_hnsw_{model.id}")
        self.definitions: list[str] = []

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            for name in self.names:
                cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
                self.definitions.append(cursor.fetchone()[0].replace(" ON ONLY ", " ON "))
                cursor.execute(f"DROP INDEX {name}")

    def __exit__(self, *_: Any) -> None:
        with connection.cursor() as cursor:
            for definition in self.definitions:
                cursor.execute(definition)


def _make(owner_id: int, model_id: int, sources: list[Source], count: int) -> None:
    """So many documents, in one transaction."""
    ids = [uuid.uuid4() for _ in range(count)]
    chunks: list[tuple[Any, ...]] = []
    rows = []
    for document in ids:
        source = random.choice(sources)
        picked = np.random.randint(len(source.texts), size=(CHUNKS_OF_A_DOCUMENT, SENTENCES_OF_A_CHUNK))
        chunks += _chunks(owner_id, document, source, picked)
        rows.append(_embeddings(owner_id, document, model_id, source.vectors[picked]).tobytes())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DOCUMENTS, [owner_id, CHUNKS_OF_A_DOCUMENT, ids])
        copy_rows("documents_chunk", CHUNK_COLUMNS, chunks)
        stream = io.BytesIO(HEADER + b"".join(rows) + b"\xff\xff")
        columns = 'owner_id, document_id, position, part, model_id, start, "end", content_hash, vector'
        cursor.copy_expert(f"COPY documents_embedding ({columns}) FROM STDIN (FORMAT binary)", stream)


def _chunks(owner_id: int, document: uuid.UUID, source: Source, picked: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    for position, sentences in enumerate(picked):
        text = _with_rare_words(" ".join(source.texts[index] for index in sentences))
        yield (
            owner_id, document, position, "paragraph", position * 10_000, position * 10_000 + len(text), (),
            source.title, text, len(text) // 4, "en", random.randrange(1 << 31),
        )  # fmt: skip


def _with_rare_words(text: str) -> str:
    return " ".join(
        f"{word}{random.randrange(100_000)}" if len(word) >= LONG_WORD and random.random() < RARE else word
        for word in text.split(" ")
    )


def _embeddings(owner_id: int, document: uuid.UUID, model_id: int, vectors: NDArray[np.float32]) -> NDArray[Any]:
    """The rows of a document's parts and of their means, from vectors of shape (chunks, sentences, dimensions)."""
    topic = np.random.normal(0, TOPIC_NOISE, DIMENSIONS)
    moved = (vectors + topic + np.random.normal(0, NOISE, vectors.shape)).astype(np.float32)
    every = np.concatenate([moved.mean(axis=1, keepdims=True), moved], axis=1)
    every /= np.linalg.norm(every, axis=2, keepdims=True)
    chunks, parts, _ = every.shape
    rows = np.zeros((chunks, parts), ROW)
    rows["fields"] = 9
    for name, size in SIZES.items():
        rows[f"{name}_size"] = size
    rows["owner"], rows["model"], rows["document"] = owner_id, model_id, np.void(document.bytes)
    rows["position"] = np.arange(chunks)[:, None]
    rows["part"] = np.arange(parts)
    rows["start"] = rows["position"] * 10_000 + rows["part"] * 100
    rows["end"] = rows["start"] + 100
    rows["hash"] = np.frombuffer(random.randbytes(32 * chunks * parts), "V32").reshape(chunks, parts)
    rows["vector_size"], rows["dimensions"], rows["vector"] = 4 + 2 * DIMENSIONS, DIMENSIONS, every
    return rows.reshape(-1)
