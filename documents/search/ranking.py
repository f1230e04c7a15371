"""A question → the owner's passages that answer it best: its terms are read, then one statement ranks and fuses."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from documents.places import heading_path, place
from documents.search import reranking, statement
from documents.search.duplicates import duplicates_last
from documents.search.fusion import DOCUMENT_HITS, DOCUMENT_WEIGHT, FEW_WORDS, SMALL_SPREAD, WEIGHTS, Mode
from documents.search.neighbours import joined
from documents.search.query import query_words
from documents.search.terms import QuestionTerms, read_terms
from documents.vectors import model_names, vector_literal
from ragsite.embedding import encoder
from ragsite.replicas import read_connection
from ragsite.sharding.state import is_sharded

Vector = NDArray[np.float32]
"""Of a query, of shape (dimensions,)."""
SPARE = 20
"""Hits that are looked at beyond those wanted, to take the place of near-duplicates,"""
NEIGHBOURS = 10
"""and, by ``search``, of those that are one passage with a neighbour."""


@dataclass(frozen=True)
class Scope:
    """Whose chunks are searched, and which: the whole library, or the union of documents and collections."""

    owner_id: int
    documents: tuple[UUID, ...] | None = None
    collections: tuple[UUID, ...] | None = None

    @property
    def whole(self) -> bool:
        return self.documents is None and self.collections is None


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. ``text`` is the document's text from ``start`` to ``end``, in code points.

    ``words`` is the share of the question's words that it holds, by their rarity; ``meaning`` the cosine of its best
    sentence, which stands at ``sentence_start`` to ``sentence_end`` (offsets in the document; None where the chunk was
    embedded as a whole, or not yet); ``score`` what they are fused to: at most 1, and comparable within one search.
    """

    document_id: UUID
    filename: str
    page: int | None
    position: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...]
    title: str
    language: str
    score: float
    words: float
    meaning: float
    kind: str = "paragraph"
    page_kind: str = "page"
    page_label: str = ""
    table_header: str = ""
    sentence_start: int | None = None
    sentence_end: int | None = None

    @property
    def place(self) -> str:
        """``page 3``, ``sheet Budget``; empty where the format has no pages."""
        return place(self.page_kind, self.page, self.page_label)

    @property
    def path(self) -> list[str]:
        """The headings, without what the place and the table's header say."""
        return heading_path(self.headings, self.page_label, self.table_header)


def search(
    scope: Scope,
    query: str,
    limit: int = 10,
    mode: Mode = Mode.FUSED,
    vector: Vector | Future[Vector] | None = None,
) -> list[Hit]:
    """The best passages in scope, best first: chunks, or neighbours that belong together as one.

    Raises EncoderUnavailable when the query cannot be embedded (not in mode ``words``, nor with its ``vector``).
    """
    if vector is None and mode is not Mode.WORDS:
        vector = encoder().embed_query(query)
    return joined(scope.owner_id, rank(scope, query, vector, limit + NEIGHBOURS, mode), limit)


def rank(
    scope: Scope, query: str, vector: Vector | Future[Vector] | None, limit: int = 10, mode: Mode = Mode.FUSED
) -> list[Hit]:
    """The best chunks for a query whose vector is there, or is coming; without one, by words alone."""
    with read_connection().cursor() as cursor:
        terms = read_terms(cursor, scope.owner_id, query_words(query) if mode is not Mode.MEANING else "")
        if terms is None:
            return []
        there = vector.result() if isinstance(vector, Future) else vector
        cursor.execute(_statement(scope, terms), _parameters(scope, terms, there, limit + SPARE, mode))
        hits = [_hit(row) for row in cursor.fetchall()]
    if mode is Mode.FUSED and reranking.is_configured():
        hits = reranking.reranked(query, hits)
    return duplicates_last(hits, limit)


def _statement(scope: Scope, terms: QuestionTerms) -> str:
    """Citus finds the owner's shard in the text of a statement alone, not in a function's."""
    if scope.whole and not terms.fillers and terms.chunks <= statement.LARGE_LIBRARY and not is_sharded():
        return statement.WITH_KEPT_PLAN
    return statement.search(scope.whole, bool(terms.fillers))


def _parameters(scope: Scope, terms: QuestionTerms, vector: Vector | None, limit: int, mode: Mode) -> dict[str, Any]:
    words_weight, meaning_weight = WEIGHTS[mode]
    return {
        "owner": scope.owner_id,
        "documents": _literals(scope.documents),
        "collections": _literals(scope.collections),
        "languages": [term.language for term in terms.terms],
        "queries": [term.query for term in terms.terms],
        "weights": list(terms.weights),
        "wanted": terms.candidates,
        "fillers": terms.fillers,
        "chunks": terms.chunks,
        "vector": None if vector is None else vector_literal(vector),
        "models": [] if vector is None or not meaning_weight else model_names(),
        "words_weight": words_weight,
        "meaning_weight": meaning_weight,
        "document_weight": DOCUMENT_WEIGHT if mode is Mode.FUSED else 0.0,
        "document_hits": DOCUMENT_HITS,
        "few_words": FEW_WORDS,
        "small_spread": SMALL_SPREAD,
        "candidates": max(statement.CANDIDATES, limit),
        "nearest": max(statement.nearest(terms.chunks), limit),
        "exact_up_to": statement.exact_up_to(terms.beside),
        "effort": statement.effort(terms.beside),
        "limit": limit,
    }


def _literals(ids: Iterable[UUID] | None) -> list[str]:
    return [str(entry) for entry in ids or ()]


def _hit(row: tuple) -> Hit:
    values = list(row)
    values[7] = tuple(values[7])
    return Hit(*values)
