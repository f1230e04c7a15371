"""The words of questions and sentences, made comparable."""

import math
import re
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache

import Stemmer

from chat.engines.phrases import STOP_WORDS
from ragsite.languages import STEMMERS, index_words

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_local = threading.local()
WORDS_KEPT = 20_000
"""Of each language, a process's: some 4 MB."""


def terms(text: str, language: str) -> list[str]:
    """Stems of the words that carry meaning; pairs of characters where a script has no spaces."""
    stop = STOP_WORDS.get(language, STOP_WORDS["en"])
    words = [word for word in _WORD.findall(index_words(text).lower()) if word not in stop]
    stem = _stem(language)
    return [stem(word) for word in words] if stem else words


def folded(text: str) -> str:
    """The text without differences of case, accents, width and white space."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).replace("’", "'").split())


@cache
def _stem(language: str) -> Callable[[str], str] | None:
    """Of a word, remembered: the same ones come again and again, and Snowball takes four times as long."""
    name = STEMMERS.get(language)
    return lru_cache(WORDS_KEPT)(lambda word: _stemmer(name).stemWord(word)) if name else None


def _stemmer(name: str) -> Stemmer.Stemmer:
    """One for each thread: they are not safe to share. Without the cache of its own, which each would have."""
    kept: dict[str, Stemmer.Stemmer] = _local.__dict__.setdefault("stemmers", {})
    if name not in kept:
        kept[name] = Stemmer.Stemmer(name, 0)
    return kept[name]


def rarity(documents: Sequence[AbstractSet[str]], words: AbstractSet[str]) -> dict[str, float]:
    """The inverse document frequency of each word among these sets of words."""
    size = len(documents)
    counts = {word: sum(word in document for document in documents) for word in words}
    return {word: math.log(1 + (size - count + 0.5) / (count + 0.5)) for word, count in counts.items()}


def covered(wanted: Mapping[str, float], found: AbstractSet[str]) -> float:
    """The share of the wanted words' weight that was found: 0 to 1."""
    total = sum(wanted.values())
    return sum(weight for word, weight in wanted.items() if word in found) / total if total else 0.0
