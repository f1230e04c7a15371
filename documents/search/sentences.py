"""The vectors of the sentences of chunks, as they were kept when their documents were processed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from documents.vectors import model_names

Chunk = tuple[UUID, int]
"""Its document, and its position there."""

READ = """
SELECT e.document_id, e.position, e.start, e.end, halfvec_send(e.vector) FROM documents_embedding e
WHERE e.owner_id = %(owner)s AND e.part > 0
  AND (e.document_id, e.position) IN (SELECT * FROM unnest(%(documents)s::uuid[], %(positions)s::integer[]))
  AND e.model_id = ANY (ARRAY(SELECT id FROM documents_embeddingmodel WHERE name = ANY (%(models)s)))
"""
_HEADER = 4
"""Bytes before the halves: ``vector_binary``."""


@dataclass(frozen=True)
class SentenceVector:
    """Of the document's text from ``start`` to ``end``: a sentence, or some short ones."""

    start: int
    end: int
    vector: NDArray[np.float32]


def sentence_vectors(owner_id: int, chunks: Sequence[Chunk]) -> dict[Chunk, list[SentenceVector]]:
    """By chunk; none of a chunk that was embedded as a whole, or not yet."""
    documents, positions = zip(*chunks, strict=True) if chunks else ((), ())
    wanted: dict[str, Any] = {
        "owner": owner_id,
        "documents": [str(document) for document in documents],
        "positions": list(positions),
        "models": model_names(),
    }
    found: dict[Chunk, list[SentenceVector]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(READ, wanted)
        for document, position, start, end, halves in cursor.fetchall():
            vector = np.frombuffer(halves, ">f2", offset=_HEADER).astype(np.float32)
            found[document, position].append(SentenceVector(start, end, vector))
    return found
