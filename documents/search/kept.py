"""Searches whose passages are kept until the owner's library changes, and the vectors of questions."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from documents.caching import QUERY_VECTORS, RETRIEVAL
from documents.search import ranking
from documents.search.fusion import Mode
from documents.search.ranking import Hit, Scope
from ragsite.caching import get_or_compute
from ragsite.caching.release import release
from ragsite.embedding import encoder

MOST_ENCODING = 64
"""Vectors at once, in a process: as many as the encoder's client keeps connections."""


def query_vector(owner_id: int, text: str) -> NDArray[np.float32]:
    """Of shape (dimensions,). An owner's alone: how quick it comes must not tell what others have asked.

    Raises EncoderUnavailable and EncoderRejected.
    """
    model = f"{settings.EMBEDDING_BASE_URL} {settings.EMBEDDING_MODEL}"
    return get_or_compute(QUERY_VECTORS, lambda: encoder().embed_query(text), owner=owner_id, model=model, text=text)


def search(scope: Scope, query: str, limit: int = 10) -> list[Hit]:
    """As ``documents.search.search``. Raises EncoderUnavailable and EncoderRejected."""

    def found() -> list[Hit]:
        coming = _encoding().submit(copy_context().run, query_vector, scope.owner_id, query)
        return ranking.search(scope, query, limit, vector=coming)

    return _kept(scope, ["search", query, limit], found)


@cache
def _encoding() -> ThreadPoolExecutor:
    """Threads that wait for the vectors of questions while the database tells of their words."""
    return ThreadPoolExecutor(MOST_ENCODING, thread_name_prefix="encoding")


def rank(scope: Scope, query: str, vector: NDArray[np.float32] | None, limit: int) -> list[Hit]:
    """As ``documents.search.ranking.rank``, in the mode that the vector allows."""
    mode = Mode.WORDS if vector is None else Mode.FUSED
    asked = ["rank", query, limit, mode.value]
    return _kept(scope, asked, lambda: ranking.rank(scope, query, vector, limit, mode))


def _kept(scope: Scope, asked: list[Any], compute: Callable[[], list[Hit]]) -> list[Hit]:
    key = json.dumps([*asked, *_ids(scope), release()])
    rows = get_or_compute(RETRIEVAL, lambda: [as_json(hit) for hit in compute()], owner=scope.owner_id, asked=key)
    return [hit_of(row) for row in rows]


def _ids(scope: Scope) -> list[list[str] | None]:
    return [None if ids is None else sorted(map(str, ids)) for ids in (scope.documents, scope.collections)]


def as_json(hit: Hit) -> dict[str, Any]:
    return {**vars(hit), "document_id": str(hit.document_id), "headings": list(hit.headings)}


def hit_of(row: dict[str, Any]) -> Hit:
    """Raises TypeError for what another release has kept."""
    return Hit(**{**row, "document_id": UUID(row["document_id"]), "headings": tuple(row["headings"])})
