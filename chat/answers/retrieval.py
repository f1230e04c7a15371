"""From a question to the passages that its answer may rest on."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from chat.answers.connections import release_connection
from chat.answers.passages import Passage
from chat.answers.question import Question
from chat.answers.running import StopFlag
from chat.intents.naming import narrowed
from documents.search.kept import query_vector, rank
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable
from ragsite.metrics import record

logger = logging.getLogger(__name__)

AT_ONCE = 6
"""Searches of this process that run side by side: they compute and hold a database connection each."""
Vector = NDArray[np.float32]

_searches = threading.BoundedSemaphore(AT_ONCE)


def retrieve(question: Question, limit: int, stop: StopFlag) -> tuple[list[Passage], Vector | None]:
    """The passages, best first, and the question's vector; afterwards this thread holds no database connection.

    Without an encoder it searches by words alone: an answer from fewer documents is better than none.
    """
    query = question.query
    with record.retrieval("embedding"):
        vector = _embedded(question.scope.owner_id, query)
    with reading(stop), record.retrieval("search"):
        scope = narrowed(question.scope, question.text)
        hits = rank(scope, query, vector, limit)
    return [Passage(number, hit) for number, hit in enumerate(hits, 1)], vector


@contextmanager
def reading(stop: StopFlag) -> Iterator[None]:
    """A place among those that read the database; afterwards this thread holds no connection."""
    with _searches:
        stop.check()
        try:
            yield
        finally:
            release_connection()


def _embedded(owner_id: int, query: str) -> Vector | None:
    try:
        return query_vector(owner_id, query)
    except (EncoderUnavailable, EncoderRejected) as error:
        logger.warning("searching by words alone: %s", error)
        return None
