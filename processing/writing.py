"""Chunks and embeddings into the database: each in one transaction, by COPY, only while the attempt is ours."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from documents.models import Document, DocumentText, EmbeddingModel
from documents.vectors import vector_literal
from processing.chunking import Passage
from processing.leases import Lease
from ragsite.copying import copy_rows
from ragsite.extraction import Extraction
from ragsite.languages import has_unspaced, index_words

CHUNK_COLUMNS = (
    "owner_id", "document_id", "position", "kind", "start", "end", "page", "headings", "title", "text", "words",
    "token_count", "language", "sample_key", "page_label", "table_header",
)  # fmt: skip
EMBEDDING_COLUMNS = ("owner_id", "document_id", "position", "part", "model_id", "content_hash", "vector")

# What stands in the old chunks of this document and in any other of the owner with the same content.
KNOWN = """
SELECT DISTINCT ON (content_hash) content_hash, vector::text FROM documents_embedding
WHERE owner_id = %s AND model_id = %s AND content_hash = ANY (%s)
"""
MISSING = """
SELECT c.position, c.title, c.headings, c.text FROM documents_chunk c
WHERE c.owner_id = %s AND c.document_id = %s AND NOT EXISTS (
  SELECT FROM documents_embedding e WHERE e.owner_id = c.owner_id AND e.document_id = c.document_id
  AND e.position = c.position AND e.model_id = %s)
ORDER BY c.position
"""


@dataclass(frozen=True)
class EmbeddingInput:
    """The text that stands for a chunk at the encoder."""

    position: int
    text: str

    @property
    def content_hash(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def embedding_text(title: str, headings: Sequence[str], text: str) -> str:
    """Title and headings before the text: they tell similar passages of different documents apart."""
    start = text[:300]
    context = [line for line in dict.fromkeys((title, *headings)) if line and line not in start]
    return "\n".join((*context, text))


def write_chunks(lease: Lease, extraction: Extraction, passages: Sequence[Passage]) -> None:
    """Replace a document's text, chunks and embeddings at once; embeddings of known content are taken over.

    Raises LeaseLost when the attempt is no longer ours; nothing is changed then.
    """
    document = lease.document
    inputs = [
        EmbeddingInput(
            position, embedding_text(document.title, passage.headings, extraction.text[passage.start : passage.end])
        )
        for position, passage in enumerate(passages)
    ]
    with lease.writing():
        model = EmbeddingModel.objects.filter(name=settings.EMBEDDING_MODEL).first()
        known = _known_vectors(document, model, inputs) if model else {}
        _delete_derived(document)
        _write_text(document, extraction)
        copy_rows("documents_chunk", CHUNK_COLUMNS, _chunk_rows(document, extraction, passages))
        if model and known:
            vectors = [(entry, known[entry.content_hash]) for entry in inputs if entry.content_hash in known]
            copy_rows("documents_embedding", EMBEDDING_COLUMNS, _embedding_rows(document, model, vectors))
        lease.update(chunk_count=len(passages), searchable=True)


def _known_vectors(document: Document, model: EmbeddingModel, inputs: Sequence[EmbeddingInput]) -> dict[bytes, str]:
    """The vectors, as pgvector writes them, that the owner has of these inputs already, by content hash."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [document.owner_id, model.id, [entry.content_hash for entry in inputs]])
        return {bytes(content_hash): vector for content_hash, vector in cursor.fetchall()}


def _delete_derived(document: Document) -> None:
    with connection.cursor() as cursor:
        for table in ("documents_embedding", "documents_chunk"):
            cursor.execute(
                f"DELETE FROM {table} WHERE owner_id = %s AND document_id = %s",  # noqa: S608
                [document.owner_id, document.id],
            )


def _write_text(document: Document, extraction: Extraction) -> None:
    content = extraction.as_json()
    DocumentText.objects.update_or_create(
        document_id=document.id,
        defaults={
            "owner_id": document.owner_id,
            "text": extraction.text,
            "pages": content["pages"],
            "blocks": content["blocks"],
        },
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
            (labels.get(passage.page) or "").replace("\x00", ""), passage.table_header,
        ))  # fmt: skip
    return rows


def missing_embeddings(document: Document, model: EmbeddingModel) -> list[EmbeddingInput]:
    """The chunks that still have no vector of this model, in order."""
    with connection.cursor() as cursor:
        cursor.execute(MISSING, [document.owner_id, document.id, model.id])
        return [EmbeddingInput(row[0], embedding_text(row[1], row[2], row[3])) for row in cursor.fetchall()]


def write_embeddings(
    lease: Lease, model: EmbeddingModel, inputs: Sequence[EmbeddingInput], vectors: NDArray[np.float32], progress: float
) -> None:
    """Add vectors of shape (len(inputs), dimensions) and the progress made. Raises LeaseLost."""
    literals = [(entry, vector_literal(vector)) for entry, vector in zip(inputs, vectors, strict=True)]
    with lease.writing():
        copy_rows("documents_embedding", EMBEDDING_COLUMNS, _embedding_rows(lease.document, model, literals))
        lease.update(stage_progress=progress, attempts=0, crashes=0)


def _embedding_rows(
    document: Document, model: EmbeddingModel, vectors: Sequence[tuple[EmbeddingInput, str]]
) -> list[tuple]:
    return [
        (document.owner_id, document.id, entry.position, 0, model.id, entry.content_hash, vector)
        for entry, vector in vectors
    ]
