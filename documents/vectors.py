"""Embedding models and their vectors in the database."""

import struct
from functools import cache

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from numpy.typing import NDArray

from documents.models import EmbeddingModel

GRAPH = "m = 24, ef_construction = 128"
"""Of the HNSW index: pgvector's own (16, 64) find 0.95 of the ten nearest of a million, these 0.99, at twice the time
to build and hardly more space (docs/quality.md)."""
MOST_DIMENSIONS_OF_MEANS = 1024
"""A row of a B-tree takes a third of a page at most: of longer vectors it could not be made."""


def vector_literal(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it; five digits are more than a half-precision float holds."""
    return _literal_of(len(vector)) % tuple(vector.tolist())


@cache
def _literal_of(dimensions: int) -> str:
    """Filled in at once, which takes two thirds of the time of number by number."""
    return "[" + ",".join(["%.5g"] * dimensions) + "]"


def vector_binary(vector: NDArray[np.float32]) -> bytes:
    """A vector in the binary format of pgvector's ``halfvec_recv``: dimensions, two unused bytes, halves."""
    return struct.pack("!hh", len(vector), 0) + vector.astype(">f2").tobytes()


def model_names() -> list[str]:
    """The names under which this encoder's vectors may be kept, the present way first.

    One vector a chunk stands under the encoder's own name. Where sentences are embedded, a chunk has a vector for each
    of them as parts 1, 2, 3…, and as part 0 their mean, which the index is made of. They are of one space, so that
    both are searched while one way replaces the other.
    """
    whole, sentences = settings.EMBEDDING_MODEL, f"{settings.EMBEDDING_MODEL}/sentences"
    return [sentences, whole] if settings.EMBEDDED_PARTS > 1 else [whole, sentences]


def register_model(name: str, dimensions: int) -> EmbeddingModel:
    """The row of a model, made with an HNSW index of its own when it is new."""
    model = EmbeddingModel.objects.filter(name=name).first()
    return model or _create_model(name, dimensions)


def _create_model(name: str, dimensions: int) -> EmbeddingModel:
    """Once, though the first documents of a site come together."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('documents_embeddingmodel', 0))")
        model, created = EmbeddingModel.objects.get_or_create(name=name, defaults={"dimensions": dimensions})
        if created:
            create_index(model)
    return model


def create_index(model: EmbeddingModel) -> None:
    """The indexes over the vectors that stand for whole chunks, where they are missing.

    One is the graph. The other holds the vectors side by side: the exact way reads a seventh of the pages there, for in
    the table each stands among those of its sentences.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS {index_name(model)} ON documents_embedding "
            f"USING hnsw ((vector::halfvec({model.dimensions:d})) halfvec_cosine_ops) WITH ({GRAPH}) "
            f"WHERE model_id = {model.id:d} AND part = 0"
        )
        if model.dimensions <= MOST_DIMENSIONS_OF_MEANS:
            cursor.execute(
                f"CREATE INDEX IF NOT EXISTS {means_name(model)} ON documents_embedding "
                f"(owner_id, document_id, position) INCLUDE (vector) WHERE model_id = {model.id:d} AND part = 0"
            )


def drop_index(model: EmbeddingModel) -> None:
    """Both of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {index_name(model)}, {means_name(model)}")


def index_name(model: EmbeddingModel) -> str:
    """Of the graph."""
    return f"documents_embedding_hnsw_{model.id:d}"


def means_name(model: EmbeddingModel) -> str:
    """Of the vectors side by side."""
    return f"documents_embedding_means_{model.id:d}"


def forget_model(model: EmbeddingModel) -> None:
    """Remove a model that another has replaced, with its index and what vectors are left of it."""
    with transaction.atomic(), connection.cursor() as cursor:
        drop_index(model)
        cursor.execute("DELETE FROM documents_embedding WHERE model_id = %s", [model.id])
        model.delete()
