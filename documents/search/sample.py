"""How often words stand in an owner's library, counted in a sample of its chunks.

Chunks have random keys, and those with the lowest are the sample: no statistics need upkeep. What was counted is kept
in the process for as long as the sample is the same, which its keys tell: they are read with every question, from
an index alone. A small library is its own sample.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLE_SIZE = 500
LARGEST_KEY = 2**31
MOST_OWNERS = 500
MOST_WORDS = 2000
"""Of an owner, whose counts are kept; then it begins anew."""

KEYS = """
SELECT count(*), coalesce(sum(sample_key), 0)::bigint, coalesce(max(sample_key), 0) FROM (
  SELECT c.sample_key FROM documents_chunk c WHERE c.owner_id = %(owner)s ORDER BY c.sample_key LIMIT %(sample)s) sample
"""
COUNTS = """
WITH sample AS MATERIALIZED (
  SELECT c.tsv FROM documents_chunk c WHERE c.owner_id = %(owner)s ORDER BY c.sample_key LIMIT %(sample)s
)
SELECT (SELECT coalesce(avg(length(tsv)), 1)::float FROM sample),
  (SELECT reltuples::float FROM pg_class WHERE oid = (
    SELECT c.tableoid FROM documents_chunk c WHERE c.owner_id = %(owner)s LIMIT 1)),
  ARRAY(
  SELECT (SELECT count(*) FROM sample WHERE sample.tsv @@ word.query::tsquery)
  FROM unnest(%(queries)s::text[]) WITH ORDINALITY AS word(query, place) ORDER BY place)
"""


@dataclass(frozen=True)
class Keys:
    """What tells a sample from any other: how many chunks, the sum of their keys, and the highest."""

    size: int
    sum: int
    highest: int

    @property
    def chunks(self) -> float:
        """How many chunks the library has, by how far the sample reaches among the keys."""
        return float(self.size) if self.size < SAMPLE_SIZE else self.size * LARGEST_KEY / (self.highest + 1)


@dataclass
class Sample:
    """What was counted in one: in how many of its chunks each query's word stands, and their mean count of words.

    ``beside`` is how many chunks stand in the same partition, the owner's and others', when it was last analysed.
    """

    keys: Keys
    lexemes: float = 1.0
    beside: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


_samples: OrderedDict[int, Sample] = OrderedDict()
_lock = threading.Lock()


def counted(cursor: Any, owner_id: int, keys: Keys, queries: Sequence[str]) -> Sample:
    """The sample of these keys with the counts of these queries (each a tsquery's text)."""
    sample = _sample_of(owner_id, keys)
    if missing := [query for query in queries if query not in sample.counts]:
        cursor.execute(COUNTS, {"owner": owner_id, "sample": SAMPLE_SIZE, "queries": missing})
        sample.lexemes, beside, counts = cursor.fetchone()
        sample.beside = max(beside or 0.0, keys.chunks)
        sample.counts.update(zip(missing, counts, strict=True))
    return sample


def _sample_of(owner_id: int, keys: Keys) -> Sample:
    with _lock:
        sample = _samples.get(owner_id)
        if sample is None or sample.keys != keys or len(sample.counts) > MOST_WORDS:
            sample = _samples[owner_id] = Sample(keys)
        _samples.move_to_end(owner_id)
        if len(_samples) > MOST_OWNERS:
            _samples.popitem(last=False)
        return sample
