"""The words of a question: how much each weighs, and which of them choose the chunks that are ranked."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from documents.search.sample import KEYS, SAMPLE_SIZE, Keys, Sample, counted

TERMS_READ = 64
"""Terms of a query that are looked at, from its beginning."""
TERMS_SCORED = 32
"""The rarest of them, which are scored."""
SMALL_LIBRARY = 2000
"""Chunks up to which all are ranked that hold any of the terms."""
ROWS_BY_TERMS = 300
"""Chunks that single terms may bring in, by estimate: the rarest first."""
ROWS_BY_ONE = 1200
"""Chunks that the rarest may bring in when no other single term does; above, only together with another."""
PAIRED = 4
"""So many of the next terms bring in the chunks that hold two of them,"""
ROWS_BY_PAIRS = 400
"""up to this many by estimate: really two or three times as many, for words of one subject stand together."""
TOGETHER = 2.0
"""How much more often than by chance two words of a question stand in one chunk, at least."""
RANK_OF_ONE_MATCH = 0.0608
"""ts_rank of a single occurrence (weight D): 0.1 · 6/π²."""
TERM_SATURATION = 2.2
"""BM25's k1 + 1: what a term scores at most, when one occurrence in a chunk of average length scores 1."""
_NUMBER = re.compile(r"-?[0-9][0-9.,]*")

READ = f"""
SELECT sample.*, language, ARRAY(
  SELECT lexeme FROM unnest(documents_tsvector(language, %(words)s)) ORDER BY positions[1], lexeme LIMIT %(most)s)
FROM ({KEYS}) sample, documents_languages(%(owner)s) AS language
"""  # noqa: S608
"""The terms in each language of the library, and the keys of its sample."""


@dataclass(frozen=True)
class Term:
    """A word of the question in one language: ``query`` is a tsquery's text, ``rows`` how many chunks hold it."""

    language: str
    lexeme: str
    query: str
    variants: int
    idf: float
    rows: float


@dataclass(frozen=True)
class QuestionTerms:
    """All of them; ``weights`` are such that a chunk which holds every term of its language once or twice scores 1."""

    chunks: float
    beside: float
    """Chunks in the library's partition: its own and others'."""
    terms: tuple[Term, ...] = ()
    weights: tuple[float, ...] = ()
    candidates: str = ""
    """A tsquery's text: which chunks are ranked."""
    fillers: str = ""
    """Another's: some of these too, where the candidates may be none."""


def read_terms(cursor: Any, owner_id: int, words: str) -> QuestionTerms | None:
    """What an owner's library knows of the words; None when it holds nothing."""
    cursor.execute(READ, {"owner": owner_id, "words": words, "sample": SAMPLE_SIZE, "most": TERMS_READ})
    rows = cursor.fetchall()
    if not rows or not rows[0][0]:
        return None
    keys = Keys(*rows[0][:3])
    by_language = {language: lexemes for *_, language, lexemes in rows if lexemes}
    queries = list(dict.fromkeys(_query(lexeme) for lexemes in by_language.values() for lexeme in lexemes))
    sample = counted(cursor, owner_id, keys, queries)
    terms = [_rarest(language, lexemes, sample) for language, lexemes in by_language.items()]
    chosen = [_candidates(language, keys.chunks) for language in terms]
    return QuestionTerms(
        keys.chunks,
        max(sample.beside, keys.chunks),
        tuple(term for language in terms for term in language),
        tuple(weight for language in terms for weight in _weights(language, sample)),
        _either(query for candidates, _ in chosen for query in candidates),
        _either(query for _, fillers in chosen for query in fillers),
    )


def _either(queries: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(queries))


def _query(lexeme: str) -> str:
    """PostgreSQL reads the number in ABC-12345 as negative: it is meant with and without its sign."""
    if _NUMBER.fullmatch(lexeme):
        number = lexeme.lstrip("-")
        return f"('{number}' | '-{number}')"
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _rarest(language: str, lexemes: Iterable[str], sample: Sample) -> list[Term]:
    """The terms that are scored, the rarest first."""
    terms = [_term(language, lexeme, sample) for lexeme in lexemes]
    return sorted(terms, key=lambda term: (-term.idf, term.lexeme))[:TERMS_SCORED]


def _term(language: str, lexeme: str, sample: Sample) -> Term:
    query, size = _query(lexeme), sample.keys.size
    df = sample.counts[query]
    idf = math.log(1 + (size - df + 0.5) / (df + 0.5))
    rows = max(df, 0.1) / size * sample.keys.chunks
    return Term(language, lexeme, query, query.count(" | ") + 1, idf, rows)


def _weights(terms: Sequence[Term], sample: Sample) -> Iterator[float]:
    full = sum(term.idf for term in terms) * RANK_OF_ONE_MATCH * TERM_SATURATION / (1 + math.log1p(sample.lexemes))
    return (term.idf * term.variants / full for term in terms)


def _candidates(terms: Sequence[Term], chunks: float) -> tuple[list[str], list[str]]:
    """Queries of one language whose chunks are ranked: the rarest terms, then pairs of the next ones; and fillers.

    Ranking each chunk that holds a common word would take seconds in a large library.
    """
    if chunks <= SMALL_LIBRARY:
        return [term.query for term in terms], []
    single = _while_few([(term.query, term.rows) for term in terms], ROWS_BY_TERMS)
    if terms[0].rows > ROWS_BY_ONE and len(terms) > 1:
        single = []
    rest = terms[len(single) :]
    if len(rest) == 1:  # the rare ones may stand in no chunk at all
        return (single, [rest[0].query]) if rest[0].rows > ROWS_BY_ONE else ([*single, rest[0].query], [])
    pairs = [
        (f"({one.query} & {other.query})", TOGETHER * one.rows * other.rows / chunks)
        for one, other in combinations(rest[:PAIRED], 2)
    ]
    return single + _while_few(sorted(pairs, key=lambda pair: pair[1]), ROWS_BY_PAIRS), []


def _while_few(queries: Sequence[tuple[str, float]], most: float) -> list[str]:
    """The queries, in their order, that bring in so many rows together; the first always."""
    chosen: list[str] = []
    total = 0.0
    for query, rows in queries:
        total += rows
        if chosen and total > most:
            break
        chosen.append(query)
    return chosen
