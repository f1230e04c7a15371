"""An optional reranker: any endpoint that speaks the ``/rerank`` of Jina, Cohere, vLLM or llama.cpp.

A cross-encoder reads question and passage together, which orders better than vectors and costs a model's time. When it
is slow or away the order stays what it was: a search is never worse than without it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from ragsite.replicas import read_connection

if TYPE_CHECKING:
    from documents.search.ranking import Hit

logger = logging.getLogger(__name__)

MOST_RERANKED = 30
LONGEST_TEXT = 4000
"""Characters of a passage: rerankers cut at some hundred tokens anyway."""


def is_configured() -> bool:
    return bool(settings.RERANK_BASE_URL)


def reranked(query: str, hits: Sequence["Hit"]) -> list["Hit"]:
    """The hits with the reranker's scores, best first; as they are when it does not answer in time."""
    if not hits:
        return []
    if not (connection := read_connection()).in_atomic_block:
        connection.close()  # goes back to the pool: others may use it while the model computes
    try:
        scores = _scores(query, hits[:MOST_RERANKED])
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        logger.warning("The reranker did not help: %s: %s", type(error).__name__, error)
        return list(hits)
    order = sorted(scores, key=lambda place: -scores[place])
    return [replace(hits[place], score=scores[place]) for place in order]


def _scores(query: str, hits: Sequence["Hit"]) -> dict[int, float]:
    """The score of each hit by its place; of all of them, or a ValueError."""
    body = {
        "model": settings.RERANK_MODEL,
        "query": query,
        "documents": [_read(hit) for hit in hits],
        "top_n": len(hits),
        "return_documents": False,
    }
    response = _client().post(f"{settings.RERANK_BASE_URL.rstrip('/')}/rerank", json=body)
    response.raise_for_status()
    scores = {int(result["index"]): _score(result) for result in response.json()["results"]}
    if scores.keys() != set(range(len(hits))):
        raise ValueError(f"{len(hits)} passages were sent, {len(scores)} came back")
    return scores


def _score(result: dict[str, Any]) -> float:
    return float(result["relevance_score"] if "relevance_score" in result else result["score"])


def _read(hit: "Hit") -> str:
    return "\n".join((hit.title, *hit.headings, hit.text))[:LONGEST_TEXT]


@cache
def _client() -> httpx.Client:
    headers = {"Authorization": f"Bearer {settings.RERANK_API_KEY}"} if settings.RERANK_API_KEY else {}
    return httpx.Client(headers=headers, timeout=settings.RERANK_TIMEOUT_SECONDS)
