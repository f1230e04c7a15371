"""Vectors of made chunks: those of the topics' sentences, by the real encoder, each slightly moved.

They gather about some hundred sentences, more closely than those of a real library do.
"""

import io
import random
from uuid import UUID

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from documents.vectors import model_names, register_model
from ragsite.embedding import encoder

NOISE = 0.015
"""Of each coordinate: a moved sentence has a cosine of about 0.96 to the one that it was (384 dimensions)."""
HEADER, END = b"PGCOPY\n\xff\r\n\x00" + bytes(8), b"\xff\xff"
SIZES = {
    "owner": (8, ">i8"), "document": (16, "V16"), "position": (4, ">i4"), "part": (2, ">i2"), "model": (2, ">i2"),
    "start": (4, ">i4"), "end": (4, ">i4"), "hash": (32, "V32"),
}  # fmt: skip
COPY = (
    'COPY documents_embedding (owner_id, document_id, "position", part, model_id, start, "end", content_hash, vector) '
    "FROM STDIN (FORMAT binary)"
)


class Vectors:
    """The sentences' vectors, by topic, and the rows made of them that wait to be written."""

    def __init__(self, sentences: dict[str, list[str]]) -> None:
        self.of_topic = {topic: encoder().embed_passages(texts) for topic, texts in sentences.items()}
        self.lengths = {topic: np.array([len(text) for text in texts]) for topic, texts in sentences.items()}
        self.dimensions = encoder().dimensions
        self.model = register_model(model_names()[0], self.dimensions)
        self.row = _row_type(self.dimensions)
        self.rows: list[bytes] = []

    def add(self, owner: int, document: UUID, topic: str, chosen: list[list[int]], starts: list[int]) -> None:
        """A document's chunks, each by the numbers of its sentences; a sentence is a part, their mean is part 0."""
        numbers = np.array(chosen)
        parts = self.of_topic[topic][numbers]
        moved = parts + np.random.default_rng().normal(0, NOISE, parts.shape)
        every = np.concatenate([moved.mean(axis=1, keepdims=True), moved], axis=1)
        every /= np.linalg.norm(every, axis=2, keepdims=True)
        ends = np.array(starts)[:, None] + np.cumsum(self.lengths[topic][numbers] + 1, axis=1) - 1
        rows = self._rows(owner, document, every)
        rows["start"][:, 0], rows["end"][:, 0] = starts, ends[:, -1]
        rows["start"][:, 1:], rows["end"][:, 1:] = ends - self.lengths[topic][numbers], ends
        self.rows.append(rows.tobytes())

    def _rows(self, owner: int, document: UUID, vectors: NDArray[np.float64]) -> NDArray[np.void]:
        chunks, parts, _ = vectors.shape
        rows = np.zeros((chunks, parts), self.row)
        rows["fields"] = len(SIZES) + 1
        for name, (size, _) in SIZES.items():
            rows[f"{name}_size"] = size
        rows["owner"], rows["model"], rows["document"] = owner, self.model.id, np.void(document.bytes)
        rows["position"], rows["part"] = np.arange(chunks)[:, None], np.arange(parts)
        rows["hash"] = np.frombuffer(random.randbytes(32 * chunks * parts), "V32").reshape(chunks, parts)
        rows["vector_size"], rows["dimensions"], rows["vector"] = 4 + 2 * self.dimensions, self.dimensions, vectors
        return rows

    def flush(self) -> None:
        """Inside the caller's transaction."""
        with connection.cursor() as cursor:
            cursor.copy_expert(COPY, io.BytesIO(HEADER + b"".join(self.rows) + END))
        self.rows.clear()


def _row_type(dimensions: int) -> np.dtype[np.void]:
    """A row of COPY … BINARY: the number of fields, then each with its length before it."""
    fields: list[tuple[str, str] | tuple[str, str, int]] = [("fields", ">i2")]
    for name, (_, kind) in SIZES.items():
        fields += [(f"{name}_size", ">i4"), (name, kind)]
    fields += [("vector_size", ">i4"), ("dimensions", ">u2"), ("unused", ">u2"), ("vector", ">f2", dimensions)]
    return np.dtype(fields)
