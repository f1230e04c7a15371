"""Chunks and embeddings into the database: each in one transaction, by COPY, only while the attempt is ours."""

import hashlib
import itertools
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from documents.caching import CORPUS
from documents.models import Document, DocumentText, Embedding, EmbeddingModel
from documents.vectors import model_names, vector_binary
from processing.chunking import Passage
from processing.leases import Lease
from processing.parts import parts
from ragsite.caching import changed
from ragsite.copying import copy_binary, copy_rows
from ragsite.extraction import Extraction
from ragsite.languages import has_unspaced, index_words

CHUNK_COLUMNS = (
    "owner_id", "document_id", "position", "kind", "start", "end", "page", "headings", "title", "text", "words",
    "token_count", "language", "sample_key", "page_label", "table_header",
)  # fmt: skip
EMBEDDING_COLUMNS = (
    "owner_id", "document_id", "position", "part", "model_id", "start", "end", "content_hash", "vector",
)  # fmt: skip

_SMALLINT, _INTEGER, _BIGINT = struct.Struct("!h"), struct.Struct("!i"), struct.Struct("!q")

# What stands in the old chunks of this document and in any other of the owner with the same content.
KNOWN = """
SELECT DISTINCT ON (content_hash) content_hash, halfvec_send(vector) FROM documents_embedding
WHERE owner_id = %s AND model_id = %s AND content_hash = ANY (%s)
"""
# Of the chunks whose part 0 is not there: with the parts that are, because they were known.
MISSING = """
SELECT c.position, c.start, c.kind, c.language, c.title, c.headings, c.text, ARRAY(
  SELECT e.part FROM documents_embedding e WHERE e.owner_id = %(owner)s AND e.document_id = c.document_id
    AND e.position = c.position AND e.model_id = %(model)s)
FROM documents_chunk c
WHERE c.owner_id = %(owner)s AND c.document_id = %(document)s AND NOT EXISTS (
  SELECT FROM documents_embedding e WHERE e.owner_id = %(owner)s AND e.document_id = c.document_id
  AND e.position = c.position AND e.part = 0 AND e.model_id = %(model)s)
ORDER BY c.position
"""
# Part 0 of the chunks that have all their other parts: their mean.
MEANS = """
INSERT INTO documents_embedding (owner_id, document_id, position, part, model_id, content_hash, vector)
SELECT owner_id, document_id, position, 0, model_id, sha256(string_agg(content_hash, '' ORDER BY part)),
  l2_normalize(avg(vector))
FROM documents_embedding
WHERE owner_id = %(owner)s AND document_id = %(document)s AND model_id = %(model)s
  AND position = ANY (%(positions)s) AND part > 0
GROUP BY owner_id, document_id, position, model_id
"""


@dataclass(frozen=True)
class EmbeddingInput:
    """What stands for a part of a chunk at the encoder; ``start`` and ``end`` are offsets in the document's text."""

    position: int
    part: int
    start: int
    end: int
    text: str

    @property
    def content_hash(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def embedding_text(title: str, headings: Sequence[str], text: str) -> str:
    """Title and headings before the text: they tell similar passages of different documents apart."""
    start = text[:300]
    context = [line for line in dict.fromkeys((title, *headings)) if line and line not in start]
    return "\n".join((*context, text))


def write_chunks(
    lease: Lease, extraction: Extraction, passages: Sequence[Passage], **values: Any
) -> list[EmbeddingInput]:
    """Replace a document's text, chunks and embeddings at once; embeddings of known content are taken over.

    ``values`` are written to the document's row with it. Returns what has still to be embedded, in order. Raises
    LeaseLost when the attempt is no longer ours; nothing is changed then.
    """
    document = lease.document
    inputs = [
        entry for position, passage in enumerate(passages) for entry in _inputs(
            position, passage.start, passage.kind, document.language, document.title, passage.headings,
            extraction.text[passage.start : passage.end],
        )
    ]  # fmt: skip
    was_chunked = document.searchable
    with lease.writing(chunk_count=len(passages), searchable=True, **values):
        model = EmbeddingModel.objects.filter(name=model_names()[0]).first()
        known = _known_vectors(document, model, inputs) if model else {}
        if was_chunked:
            _delete_derived(document)
        _write_text(document, extraction)
        copy_rows("documents_chunk", CHUNK_COLUMNS, _chunk_rows(document, extraction, passages))
        missing = [entry for entry in inputs if entry.content_hash not in known]
        if model and known:
            vectors = [(entry, known[entry.content_hash]) for entry in inputs if entry.content_hash in known]
            _write_vectors(document, model, vectors)
            unknown = {entry.position for entry in missing}
            _add_means(document, model, {entry.position for entry in inputs if entry.part} - unknown)
        changed(CORPUS(owner=document.owner_id))
    return missing


def _known_vectors(document: Document, model: EmbeddingModel, inputs: Sequence[EmbeddingInput]) -> dict[bytes, bytes]:
    """The vectors, in pgvector's binary format, that the owner has of these inputs already, by content hash."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [document.owner_id, model.id, [entry.content_hash for entry in inputs]])
        return {bytes(content_hash): bytes(vector) for content_hash, vector in cursor.fetchall()}


def _delete_derived(document: Document) -> None:
    with connection.cursor() as cursor:
        for table in ("documents_embedding", "documents_chunk", "documents_text"):
            cursor.execute(
                f"DELETE FROM {table} WHERE owner_id = %s AND document_id = %s",  # noqa: S608
                [document.owner_id, document.id],
            )


def _write_text(document: Document, extraction: Extraction) -> None:
    content = extraction.as_json()
    DocumentText.objects.create(
        owner_id=document.owner_id,
        document_id=document.id,
        text=extraction.text,
        pages=content["pages"],
        blocks=content["blocks"],
    )


def _chunk_rows(document: Document, extraction: Extraction, passages: Sequence[Passage]) -> list[tuple]:
    labels = {page.number: page.label for page in extraction.pages}
    rows = []
    for position, passage in enumerate(passages):
        text = extraction.text[passage.start : passage.end]
        context = "\n".join((document.title, *passage.headings, text))
        rows.append((
            document.owner_id, document.id, position, passage.kind, passage.start, passage.end, passage.page,
            passage.headings, document.title, text, index_words(context) if has_unspaced(context) else None,
            passage.token_count, document.language, random.randrange(1 << 31),  # noqa: S311
            (labels.get(passage.page or 0) or "").replace("\x00", ""), passage.table_header,
        ))  # fmt: skip
    return rows


def _inputs(
    position: int, start: int, kind: str, language: str, title: str, headings: Sequence[str], text: str
) -> list[EmbeddingInput]:
    """The parts of a chunk, numbered from 1; one alone is the chunk itself, part 0."""
    spans = parts(text, kind, language, settings.EMBEDDED_PARTS) if settings.EMBEDDED_PARTS > 1 else []
    if len(spans) <= 1:
        return [EmbeddingInput(position, 0, start, start + len(text), embedding_text(title, headings, text))]
    return [
        EmbeddingInput(
            position, part, start + first, start + last, embedding_text(title, headings, text[first:last])
        )
        for part, (first, last) in enumerate(spans, 1)
    ]  # fmt: skip


def _key(document: Document, model: EmbeddingModel) -> dict[str, Any]:
    return {"owner": document.owner_id, "document": document.id, "model": model.id}


def _add_means(document: Document, model: EmbeddingModel, positions: set[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MEANS, _key(document, model) | {"positions": list(positions)})


def missing_embeddings(document: Document, model: EmbeddingModel) -> list[EmbeddingInput]:
    """What has still to be embedded with this model: parts of chunks, in order."""
    with connection.cursor() as cursor:
        cursor.execute(MISSING, _key(document, model))
        rows = cursor.fetchall()
    return [entry for *chunk, there in rows for entry in _inputs(*chunk) if entry.part not in there]


def batches(inputs: Sequence[EmbeddingInput], size: int) -> Iterator[list[EmbeddingInput]]:
    """In order, about so many at once, the parts of a chunk together: written at once, they have a mean."""
    batch: list[EmbeddingInput] = []
    for _, group in itertools.groupby(inputs, key=lambda entry: entry.position):
        batch += group
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def write_embeddings(
    lease: Lease, model: EmbeddingModel, inputs: Sequence[EmbeddingInput], vectors: NDArray[np.float32], progress: float
) -> None:
    """Add vectors of shape (len(inputs), dimensions) and the progress made. Raises LeaseLost."""
    seconds = lease.document.stage_seconds
    with lease.writing(stage_progress=progress, stage_seconds=seconds, attempts=0, crashes=0):
        _write_vectors(lease.document, model, zip(inputs, map(vector_binary, vectors), strict=True))
        _add_means(lease.document, model, {entry.position for entry in inputs if entry.part})
        changed(CORPUS(owner=lease.document.owner_id))


def drop_other_vectors(lease: Lease, model: EmbeddingModel) -> None:
    """Remove what the document's vectors of this model have replaced. Raises LeaseLost."""
    document = lease.document
    if not EmbeddingModel.objects.exclude(id=model.id).exists():
        return
    with lease.writing():
        rows = Embedding.objects.filter(owner=document.owner_id, document_id=document.id)
        rows.exclude(model=model).delete()
        changed(CORPUS(owner=document.owner_id))


def _write_vectors(document: Document, model: EmbeddingModel, vectors: Iterable[tuple[EmbeddingInput, bytes]]) -> None:
    key, model_id = (_BIGINT.pack(document.owner_id), document.id.bytes), _SMALLINT.pack(model.id)
    rows = (
        (
            *key, _INTEGER.pack(entry.position), _SMALLINT.pack(entry.part), model_id, _INTEGER.pack(entry.start),
            _INTEGER.pack(entry.end), entry.content_hash, vector,
        )
        for entry, vector in vectors
    )  # fmt: skip
    copy_binary("documents_embedding", EMBEDDING_COLUMNS, rows)
