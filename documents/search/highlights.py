"""Which words of a passage the query asked for."""

import re
from collections.abc import Callable
from functools import cache

import Stemmer

from documents.search.ranking import Hit
from ragsite.languages import STEMMERS, index_words

_WORD = re.compile(r"\w+")
_SHORTEST = 2


def highlights(hit: Hit, query: str) -> list[tuple[int, int]]:
    """Spans (code points of the document's text, end exclusive) of the words that share a stem with the query's."""
    stem = _stemmer(hit.language)
    wanted = {stem(word) for word in _words(index_words(query))}
    spans = [
        (match.start(), match.end()) for match in _WORD.finditer(hit.text) if stem(match.group().lower()) in wanted
    ]
    spans += _unspaced(hit.text, query)
    return [(hit.start + start, hit.start + end) for start, end in _merged(spans)]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text) if len(word) >= _SHORTEST]


def _unspaced(text: str, query: str) -> list[tuple[int, int]]:
    """The pairs of characters that a query in a script without spaces shares with the text."""
    pairs = {gram for gram in index_words(query).split() if len(gram) == _SHORTEST and not gram.isascii()}
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


def _stemmer(language: str) -> Callable[[str], str]:
    algorithm = _algorithm(language)
    return Stemmer.Stemmer(algorithm).stemWord if algorithm else str.lower
