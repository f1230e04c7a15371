"""A chunk → the parts that are embedded: its sentences, or some rows of its table.

Pure. A question asks for one fact, and a vector of a whole chunk is blurred by all the others: the vector of the
sentence is nearer (docs/quality.md). Sentences too short to mean something alone stay with the next one.
"""

from collections.abc import Iterator, Sequence

from ragsite.sentences import lines, sentences

LEAST_WIDTH = 40
"""In letters, of a part of running text."""
LEAST_ROWS_WIDTH = 200
"""Of some rows of a table, a list or code: a row alone says little."""
WIDE_FROM = "\u2e80"
WIDE = 2.5
"""A character of Chinese, Japanese or Korean says as much as so many letters."""

Span = tuple[int, int]


def parts(text: str, kind: str, language: str, most: int) -> list[Span]:
    """The spans of the parts, in order, as offsets in the text; at most ``most``."""
    rows = kind in {"table", "list", "code"}
    spans = list(lines(text) if rows else _sentences(text, language))
    least = max(LEAST_ROWS_WIDTH if rows else LEAST_WIDTH, -(-_width(text) // most))
    found = _merged(text, spans, least) or [(0, len(text))]
    return [*found[: most - 1], (found[most - 1][0], found[-1][1])] if len(found) > most else found


def _sentences(text: str, language: str) -> Iterator[Span]:
    """Those of each paragraph: a heading without a full stop is none with what follows it."""
    start = 0
    for paragraph in text.split("\n\n"):
        yield from ((start + first, start + last) for first, last in sentences(paragraph, language))
        start += len(paragraph) + 2


def _merged(text: str, spans: Sequence[Span], least: float) -> list[Span]:
    """Spans of at least this width: what is too short is taken along by the next, at the end by the one before."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and _is_short(text, merged[-1], least):
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    if len(merged) > 1 and _is_short(text, merged[-1], least / 2):
        _, end = merged.pop()
        merged[-1] = (merged[-1][0], end)
    return merged


def _is_short(text: str, span: Span, least: float) -> bool:
    return _width(text[span[0] : span[1]]) < least


def _width(text: str) -> float:
    wide = 0 if text.isascii() else sum(character >= WIDE_FROM for character in text)
    return len(text) + wide * (WIDE - 1)
