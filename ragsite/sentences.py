"""Where sentences begin and end, in any language."""

from collections.abc import Iterator

import sentencex

from ragsite.languages import DEFAULT


def sentences(text: str, language: str = DEFAULT) -> list[tuple[int, int]]:
    """The spans of the text's sentences, as code points with an exclusive end, without white space around them."""
    spans = []
    for boundary in sentencex.get_sentence_boundaries(language or DEFAULT, text):
        start, end = boundary["start_index"], boundary["end_index"]
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if start < end:
            spans.append((start, end))
    return spans


def lines(text: str) -> Iterator[tuple[int, int]]:
    """The spans of the lines that are not blank: rows of a table, which a full stop in a cell does not end."""
    start = 0
    for line in text.split("\n"):
        if line.strip():
            yield start, start + len(line)
        start += len(line) + 1
