"""Passages that say the same as a better one: copies of a letter, versions of a contract, boilerplate."""

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

ALIKE = 0.9
"""The share of their words that two passages have in common."""
MOST_ALIKE = 2
"""A passage and one repetition: it may be that one's document that is meant."""
_WORD = re.compile(r"\w+")


class HasText(Protocol):
    @property
    def text(self) -> str: ...


Hit = TypeVar("Hit", bound=HasText)


def duplicates_last(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first ``limit`` hits in their order, those that say once more what has been said twice behind all others.

    Passages with different numbers are never duplicates: last year's report is not this year's.
    """
    first: list[Hit] = []
    repeated: list[Hit] = []
    seen: list[set[str]] = []
    for hit in hits:
        if len(first) == limit:
            break
        words = set(_WORD.findall(hit.text.lower()))
        if sum(_alike(words, earlier) for earlier in seen) >= MOST_ALIKE:
            repeated.append(hit)
        else:
            first.append(hit)
            seen.append(words)
    return (first + repeated)[:limit]


def _alike(words: set[str], others: set[str]) -> bool:
    if min(len(words), len(others)) < ALIKE * max(len(words), len(others)):
        return False  # what most are: fewer words cannot be so large a share of both
    common = len(words & others)
    if common < ALIKE * (len(words) + len(others) - common):
        return False
    return not any(map(_has_digit, words ^ others))


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
