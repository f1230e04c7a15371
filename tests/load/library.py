"""A large library made of a small real one, quickly: perturbed copies of its documents.

A made document has the chunks of a real one in their order, with their sentences. Their vectors are moved by
*differences of real vectors*, so that they vary in the directions in which real texts differ: all of a document by a
share of how two chunks of the library differ, each chunk by how two chunks of its document do, each sentence by how
two sentences do. The vector of the whole is the mean of its sentences, as in real chunks. (Noise in all directions
alike makes vectors that no index finds well, and that no text has.) One long word in five is made rare, as a growing
library meets new names.
"""

import io
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from documents.models import Chunk, Embedding, EmbeddingModel
from documents.vectors import create_index, drop_index, index_name, model_names
from ragsite.copying import copy_rows

CHUNKS_OF_A_DOCUMENT = 50
DIMENSIONS = 384
DOCUMENT_SHARE, CHUNK_SHARE, SENTENCE_SHARE = 0.4, 0.3, 0.3
"""Of a real difference: how far a document, a chunk and a sentence are moved."""
RARE = 0.2
LONG_WORD = re.compile(r"\w{7,}")
BATCH = 40
"""Documents made in one transaction."""
REBUILD_FROM = 20_000
"""Chunks of one owner from which on it is quicker to build the large indexes anew."""
WRITERS = 3
"""PostgreSQL makes words of texts in two processes while the third's texts are made here."""
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
SIZES = {"owner": 8, "document": 16, "position": 4, "part": 2, "model": 2, "start": 4, "end": 4, "hash": 32}
KINDS = {2: ">i2", 4: ">i4", 8: ">i8", 16: "V16", 32: "V32"}
ROW = np.dtype(
    [("fields", ">i2")]
    + [field for name, size in SIZES.items() for field in ((f"{name}_size", ">i4"), (name, KINDS[size]))]
    + [("vector_size", ">i4"), ("dimensions", ">u2"), ("unused", ">u2"), ("vector", ">f2", DIMENSIONS)]
)
"""A row of COPY … BINARY into documents_embedding."""
EMBEDDING_COLUMNS = 'owner_id, document_id, position, part, model_id, start, "end", content_hash, vector'
DOCUMENTS = """
INSERT INTO documents_document (id, owner_id, filename, content_type, size, sha256, file, status, searchable, title,
  language, page_kind, warnings, chunk_count, stage_progress, stage_seconds, error_code, error_detail, error_retryable,
  updated_at, attempts, crashes, waiting_for)
SELECT id, %s, 'made-' || id || '.md', 'text/markdown', 1, uuid_send(id), '', 'processed', true, 'Made', language,
  'page', '[]', chunks, 1, '{}', '', '', false, now(), 0, 0, ''
FROM unnest(%s::uuid[], %s::text[], %s::integer[]) AS made(id, language, chunks)
"""
CHUNK_COLUMNS = (
    "owner_id", "document_id", "position", "kind", "start", "end", "headings", "title", "text", "words", "token_count",
    "language", "sample_key",
)  # fmt: skip
REAL = """
SELECT c.document_id, c.position, c.title, c.language, c.words, c.text, e.vector::text
FROM documents_embedding e JOIN documents_chunk c USING (owner_id, document_id, position)
JOIN documents_document d ON d.owner_id = e.owner_id AND d.id = e.document_id AND d.filename NOT LIKE 'made-%%'
WHERE e.owner_id = %s AND e.model_id = %s AND e.start IS NOT NULL ORDER BY 1, 2, e.part
"""


@dataclass
class Passage:
    """A real chunk and the vectors of its sentences, of shape (sentences, dimensions)."""

    title: str
    language: str
    words: str | None
    text: str
    vectors: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = self.vectors.mean(axis=0)
        return mean


Source = list[Passage]
"""The chunks of a real document."""


def enlarge(source: int, sizes: dict[int, int], progress: Callable[[int], None] = lambda chunks: None) -> float:
    """Make chunks of one owner's documents until each of others has so many, then the indexes and statistics.

    May be stopped and repeated. Returns the seconds that building the vector index took, 0 where it was there.
    """
    model = EmbeddingModel.objects.get(name=model_names()[0])
    missing = {owner: size - Chunk.objects.filter(owner=owner).count() for owner, size in sizes.items()}
    if max(missing.values()) > REBUILD_FROM:
        _drop_indexes(model)
    sources = real_documents(source, model.id)
    for owner, chunks in missing.items():
        _fill(owner, model.id, sources, chunks, progress)
    seconds = _build(model)
    if any(chunks > 0 for chunks in missing.values()):
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE documents_chunk, documents_embedding, documents_document")
    return seconds


def _fill(
    owner_id: int, model_id: int, sources: Sequence[Source], missing: int, progress: Callable[[int], None]
) -> None:
    batch = BATCH * CHUNKS_OF_A_DOCUMENT

    def make(chunks: int) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off; SET session_replication_role = replica")
            make_chunks(owner_id, model_id, sources, chunks)
        finally:
            connection.close()
        progress(chunks)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(make, [min(batch, missing - made) for made in range(0, missing, batch)]))


def real_documents(owner_id: int, model_id: int) -> list[Source]:
    """The owner's documents that were not made here."""
    with connection.cursor() as cursor:
        cursor.execute(REAL, [owner_id, model_id])
        rows = cursor.fetchall()
    documents: dict[Any, Source] = {}
    for (document, _), group in groupby(rows, key=lambda row: row[:2]):
        parts = list(group)
        _, _, title, language, words, text, _ = parts[0]
        vectors = np.array([np.fromstring(part[6].strip("[]"), sep=",") for part in parts], np.float32)
        documents.setdefault(document, []).append(Passage(title, language, words, text, vectors))
    return list(documents.values())


_INDEXES = ((Chunk, "chunk_words_gin"), (Embedding, "embedding_hash_idx"))


def _drop_indexes(model: EmbeddingModel) -> None:
    """The large indexes are built at the end, which takes a tenth of the time."""
    drop_index(model)
    with connection.cursor() as cursor:
        for _, index in _INDEXES:
            cursor.execute(f"DROP INDEX IF EXISTS {index}")


def _build(model: EmbeddingModel) -> float:
    """What is missing of the large indexes; the seconds of the one over vectors, 0 where it was there."""
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '3GB'")
        for table, name in _INDEXES:
            cursor.execute("SELECT to_regclass(%s)", [name])
            if cursor.fetchone()[0] is None:
                index = next(index for index in table._meta.indexes if index.name == name)
                with connection.schema_editor() as editor:
                    editor.add_index(table, index)
        cursor.execute("SELECT to_regclass(%s)", [index_name(model)])
        if cursor.fetchone()[0] is not None:
            return 0.0
        started = time.monotonic()
        create_index(model)
        return time.monotonic() - started


def make_chunks(owner_id: int, model_id: int, sources: Sequence[Source], chunks: int) -> None:
    """So many chunks, in one transaction."""
    made = [
        (uuid.uuid4(), _copied(random.choice(sources), min(CHUNKS_OF_A_DOCUMENT, chunks - done)))
        for done in range(0, chunks, CHUNKS_OF_A_DOCUMENT)
    ]
    vectors = b"".join(_rows(owner_id, model_id, id_, moved(source, sources)).tobytes() for id_, source in made)
    with transaction.atomic(), connection.cursor() as cursor:
        rows = [(id_, source[0].language, len(source)) for id_, source in made]
        cursor.execute(DOCUMENTS, [owner_id, *map(list, zip(*rows, strict=True))])
        copy_rows("documents_chunk", CHUNK_COLUMNS, (row for entry in made for row in _chunks(owner_id, *entry)))
        stream = io.BytesIO(HEADER + vectors + b"\xff\xff")
        cursor.copy_expert(f"COPY documents_embedding ({EMBEDDING_COLUMNS}) FROM STDIN (FORMAT binary)", stream)


def _copied(source: Source, chunks: int) -> Source:
    """So many chunks in a row, from anywhere in the document, and again from its beginning where it is short."""
    first = random.randrange(len(source))
    return [source[(first + number) % len(source)] for number in range(chunks)]


def _chunks(owner_id: int, document: uuid.UUID, source: Source) -> Iterator[tuple[Any, ...]]:
    for position, chunk in enumerate(source):
        text = LONG_WORD.sub(_perhaps_rare, chunk.text) if chunk.words is None else chunk.text
        start = position * 10_000
        yield (
            owner_id, document, position, "paragraph", start, start + len(text), (), chunk.title, text, chunk.words,
            len(text) // 4, chunk.language, random.randrange(1 << 31),
        )  # fmt: skip


def _perhaps_rare(word: re.Match[str]) -> str:
    return f"{word[0]}{random.randrange(100_000)}" if random.random() < RARE else word[0]


def moved(source: Source, sources: Sequence[Source]) -> list[NDArray[np.float32]]:
    """The vectors of a made document: of each chunk the parts, the first of which is the mean of the others."""
    others = random.choice([other for other in sources if other[0].language == source[0].language])
    topic = DOCUMENT_SHARE * (random.choice(others).mean - random.choice(source).mean)
    sentences = np.concatenate([chunk.vectors for chunk in source])
    found = []
    for chunk in source:
        own = topic + CHUNK_SHARE * (random.choice(source).mean - random.choice(source).mean)
        one, other = np.random.randint(len(sentences), size=(2, len(chunk.vectors)))
        parts = chunk.vectors + own + SENTENCE_SHARE * (sentences[one] - sentences[other])
        parts /= np.linalg.norm(parts, axis=1, keepdims=True)
        mean = parts.mean(axis=0, keepdims=True)
        found.append(np.concatenate([mean / np.linalg.norm(mean), parts]))
    return found


def _rows(owner_id: int, model_id: int, document: uuid.UUID, vectors: list[NDArray[np.float32]]) -> NDArray[Any]:
    """The rows of a document's parts, from the vectors of each chunk."""
    lengths = [len(parts) for parts in vectors]
    rows = np.zeros(sum(lengths), ROW)
    rows["fields"] = len(SIZES) + 1
    for name, size in SIZES.items():
        rows[f"{name}_size"] = size
    rows["owner"], rows["model"], rows["document"] = owner_id, model_id, np.void(document.bytes)
    rows["position"] = np.repeat(np.arange(len(vectors)), lengths)
    rows["part"] = np.concatenate([np.arange(length) for length in lengths])
    rows["start"] = rows["position"] * 10_000 + rows["part"] * 100
    rows["end"] = rows["start"] + 100
    rows["hash"] = np.frombuffer(random.randbytes(32 * len(rows)), "V32")
    rows["vector_size"], rows["dimensions"] = 4 + 2 * DIMENSIONS, DIMENSIONS
    rows["vector"] = np.concatenate(vectors)
    return rows
