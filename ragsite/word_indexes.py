"""Questions to indexes of words that hold the owner: ``GIN ((ARRAY[owner_id]), tsvector)``, in lists, not in search."""

import re
from collections.abc import Sequence

from ragsite.languages import index_words

FEW = 500
"""Rows that an index of words is asked for. Where it has more, the list is looked through in its order instead."""
MOST_WORDS = 20
LONG = 3
"""Letters from which the index is asked for the beginning of a word: of one or two it would read all words' rows."""
# Four times the same: the planner takes owner_id = 5 and ARRAY[owner_id] @> ARRAY[5] for independent of each other, and
# would AND the index with one of all the owner's rows (3,250 pages of 390,000 messages), or walk through those rows
# because some of so many must soon fit. Each repetition makes it expect fewer, and neither way tempting.
_OWNER = " AND ".join(["(ARRAY[owner_id]) @> ARRAY[%s::bigint]"] * 4)


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", index_words(text))[:MOST_WORDS]


def long_words(words: Sequence[str]) -> list[str]:
    """Those that an index is asked for; of scripts without spaces, whose words are n-grams, all."""
    return [word for word in words if len(word) >= LONG or not word.isascii()]


def tsquery(words: Sequence[str]) -> str:
    """All words, each of which may be unfinished."""
    return " & ".join(f"'{word}':*" for word in words)


def matching(expression: str, owner_id: int, words: Sequence[str]) -> tuple[str, list[object]]:
    """SQL and its parameters; the expression as it stands in the index, to the letter."""
    return f"({_OWNER} AND {expression} @@ to_tsquery('simple', %s))", [*[owner_id] * 4, tsquery(words)]
