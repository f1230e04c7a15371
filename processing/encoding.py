"""Vectors of one batch after the other, with the next ones already at the encoder while one is written.

Without this a document that is alone would leave the encoder idle at each transaction.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from processing.writing import EmbeddingInput
from ragsite.embedding import encoder

Batch = list[EmbeddingInput]
Vectors = NDArray[np.float32]

AHEAD = 2
"""Batches at the encoder while one is written: with one alone its threads would wait for each other at its end."""


def encoded_ahead(batches: Iterator[Batch]) -> Iterator[tuple[Batch, Vectors]]:
    """Each batch with its vectors, in order. Raises what the encoder's client raises."""
    first, second = next(batches, None), next(batches, None)
    if first is not None and second is None:
        yield first, _encoded(first)  # a small document: others are worked on beside it
    elif first is not None and second is not None:
        yield from _side_by_side(chain((first, second), batches))


def _side_by_side(batches: Iterator[Batch]) -> Iterator[tuple[Batch, Vectors]]:
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="encoding")
    begun: deque[tuple[Batch, Future[Vectors]]] = deque()
    try:
        for batch in batches:
            begun.append((batch, pool.submit(_encoded, batch)))
            if len(begun) > AHEAD:
                yield _first(begun)
        while begun:
            yield _first(begun)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _first(begun: deque[tuple[Batch, Future[Vectors]]]) -> tuple[Batch, Vectors]:
    batch, vectors = begun.popleft()
    return batch, vectors.result()


def _encoded(batch: Batch) -> Vectors:
    return encoder().embed_passages([entry.text for entry in batch])
