"""Embedding models and their vectors in the database."""

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from documents.models import EmbeddingModel


def vector_literal(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it; five digits are more than a half-precision float holds."""
    return "[" + ",".join(f"{value:.5g}" for value in vector.tolist()) + "]"


def register_model(name: str, dimensions: int) -> EmbeddingModel:
    """The row of a model, made with an HNSW index of its own when it is new."""
    with transaction.atomic():
        model, created = EmbeddingModel.objects.get_or_create(name=name, defaults={"dimensions": dimensions})
        if created:
            _create_index(model)
    return model


def _create_index(model: EmbeddingModel) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE INDEX documents_embedding_hnsw_{model.id:d} ON documents_embedding "
            f"USING hnsw ((vector::halfvec({model.dimensions:d})) halfvec_cosine_ops) WHERE model_id = {model.id:d}"
        )
