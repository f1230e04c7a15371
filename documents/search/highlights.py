"""Which words of a passage the query asked for."""

import re
import threading
from functools import cache, lru_cache

import Stemmer

from documents.search.ranking import Hit
from ragsite.languages import STEMMERS, index_words

_WORD = re.compile(r"\w+")
_SHORTEST = 2
_STEMS_KEPT = 50_000
"""A few megabytes; most words of a language's texts are among them."""
_QUERIES_KEPT = 8
"""For the hits of one search, of which some run at once."""


def highlights(hit: Hit, query: str) -> list[tuple[int, int]]:
    """Spans (code points of the document's text, end exclusive) of the words that share a stem with the query's."""
    text, asked, matches = hit.text, _asked(query), _matches(hit.language, query)
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters become two: then each word by itself, so that the offsets stay
        spans = [match.span() for match in _WORD.finditer(text) if matches[match[0].lower()]]
    else:
        spans = [match.span() for match in _WORD.finditer(lowered) if matches[match[0]]]
    pairs = {word for word in asked if len(word) == _SHORTEST and not word.isascii()}
    return [(hit.start + start, hit.start + end) for start, end in _merged(spans + _unspaced(text, pairs))]


@lru_cache(maxsize=64)
def _asked(query: str) -> tuple[str, ...]:
    """The words of a query as they are indexed, of unspaced scripts their characters and pairs; once for all hits."""
    return tuple(word.lower() for word in _WORD.findall(index_words(query)))


class _Matches(dict[str, bool]):
    """Whether a word in small letters shares a stem with one of those that were asked for; found out once."""

    def __init__(self, language: str, wanted: set[str]) -> None:
        super().__init__()
        self._language, self._wanted = language, wanted

    def __missing__(self, word: str) -> bool:
        self[word] = _stem(self._language, word) in self._wanted
        return self[word]


@lru_cache(maxsize=_QUERIES_KEPT)
def _matches(language: str, query: str) -> _Matches:
    return _Matches(language, {_stem(language, word) for word in _asked(query) if len(word) >= _SHORTEST})


def _unspaced(text: str, pairs: set[str]) -> list[tuple[int, int]]:
    """The pairs of characters that a query in a script without spaces shares with the text."""
    if not pairs:
        return []
    return [(i, i + _SHORTEST) for i in range(len(text) - 1) if text[i : i + _SHORTEST] in pairs]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


@cache
def _algorithm(language: str) -> str | None:
    name = STEMMERS.get(language)
    return name if name in Stemmer.algorithms() else None


@lru_cache(maxsize=_STEMS_KEPT)
def _stem(language: str, word: str) -> str:
    """The stem of a word in small letters; the word itself where the language has no stemmer."""
    algorithm = _algorithm(language)
    if algorithm is None:
        return word
    stemmers: dict[str, Stemmer.Stemmer] = _of_thread.__dict__
    if algorithm not in stemmers:
        stemmers[algorithm] = Stemmer.Stemmer(algorithm)
    stemmed: str = stemmers[algorithm].stemWord(word)
    return stemmed


_of_thread = threading.local()
"""The stemmers: one must not be used by two threads at once."""
