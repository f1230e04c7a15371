"""What of a question is looked up in the word index."""

import re

from ragsite.languages import index_words

QUERY_CHARACTERS = 2000
"""What of a query is used: more words than that make it slower, not better."""
_COMPOUND = re.compile(r"[^\W_]+(?:[._][^\W_]+)+")
_SUFFIX = re.compile(r"\.[^\W\d_]\w{0,4}$")


def query_words(query: str) -> str:
    """The words of a question; of names as ``sales_2022.pdf`` also the parts, as a document's title has them."""
    text = query[:QUERY_CHARACTERS].replace("\x00", " ")
    parts = [re.sub(r"[._]+", " ", _SUFFIX.sub("", name)) for name in _COMPOUND.findall(text) if _is_name(name)]
    return index_words(" ".join((text, *parts)))


def _is_name(compound: str) -> bool:
    """Not a number as 3.14, nor a date as 24.12.2026."""
    return any(character.isalpha() for character in compound)
