"""A document's text as people read it: blocks around a place, with a passage marked in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.models.functions import Length, Substr

from documents.models import Document, DocumentText
from documents.places import CELLS, place

WINDOW = 24_000
"""Characters shown at once; a longer document is read in steps."""
LEAD = 6_000
"""Of these, how many stand before the place that is looked for."""
_HASHES = re.compile(r"(?:#{1,6}\s+)?")


@dataclass(frozen=True)
class Span:
    """A piece of text that is marked, or not."""

    text: str
    marked: bool


@dataclass(frozen=True)
class ShownBlock:
    """A heading, paragraph, list or table; ``rows`` of ``cells`` of spans (one of one where it is no table)."""

    kind: str
    level: int
    rows: list[list[list[Span]]]
    page: int | None = None
    place: str = ""
    """Of a page's first block: where one is."""

    @property
    def spans(self) -> list[Span]:
        return self.rows[0][0]


@dataclass(frozen=True)
class Window:
    """The blocks of one stretch of the text; the offsets of those before and after it, None at the ends."""

    blocks: list[ShownBlock]
    earlier: int | None
    later: int | None
    place: str = ""
    """Of the passage that is marked."""


def read_window(document: Document, place: int, passage: tuple[int, int] | None) -> Window | None:
    """The text around a place with the passage marked; None when the document has no text yet."""
    content = (
        DocumentText.objects.of(document)
        .annotate(length=Length("text"))
        .values_list("length", "blocks", "pages")
        .first()
    )
    if content is None:
        return None
    length, blocks, pages = content
    first, last = _bounds(blocks, length, place)
    text = DocumentText.objects.of(document).values_list(Substr("text", first + 1, last - first), flat=True)[0]
    shown = [block for block in blocks if first <= block["start"] and block["end"] <= last] or [
        {"kind": "paragraph", "start": first, "end": last}
    ]
    return Window(
        list(_with_places([_shown(text, first, block, passage) for block in shown], document, pages)),
        max(first - WINDOW + LEAD, 0) if first > 0 else None,
        last + LEAD if last < length else None,
        next((_place(document, page) for page in pages if passage and page["start"] <= passage[0] < page["end"]), ""),
    )


def _with_places(blocks: list[ShownBlock], document: Document, pages: list[dict[str, Any]]) -> Iterator[ShownBlock]:
    """The blocks, the first of each page with what the page is called."""
    places = {page["number"]: _place(document, page) for page in pages}
    before = None
    for block in blocks:
        yield replace(block, place=places.get(block.page, "")) if block.page != before else block
        before = block.page


def _place(document: Document, page: dict[str, Any]) -> str:
    return place(document.page_kind, page["number"], page.get("label") or "")


def _bounds(blocks: list[dict[str, Any]], length: int, place: int) -> tuple[int, int]:
    """Where the stretch begins and ends: with whole blocks, unless one alone is longer than a stretch."""
    wanted = min(max(place - LEAD, 0), max(length - 1, 0))
    first = max((block["start"] for block in blocks if block["start"] <= wanted), default=0)
    if wanted - first > WINDOW // 2:
        first = wanted
    last = max((block["end"] for block in blocks if first < block["end"] <= first + WINDOW), default=0)
    if last <= place:
        last = min(first + WINDOW, length)
    return first, last


def _shown(text: str, offset: int, block: dict[str, Any], passage: tuple[int, int] | None) -> ShownBlock:
    start, end = block["start"] - offset, block["end"] - offset
    if block.get("kind") == "heading":  # Markdown's own marks are shown as what they mean
        start += len(_HASHES.match(text[start:end]).group())  # type: ignore[union-attr]
    marked = (passage[0] - offset, passage[1] - offset) if passage else (0, 0)
    kind = block.get("kind", "paragraph")
    if kind == "table":
        cells = [_split(text, first, last, CELLS) for first, last in _split(text, start, end, "\n")]
    else:
        cells = [[(start, end)]]
    rows = [[list(_spans(text, first, last, marked)) for first, last in line] for line in cells]
    return ShownBlock(kind, min(block.get("level") or 2, 6), rows, block.get("page"))


def _split(text: str, start: int, end: int, separator: str) -> list[tuple[int, int]]:
    """The ranges between the separators."""
    ranges = []
    for part in text[start:end].split(separator):
        ranges.append((start, start + len(part)))
        start += len(part) + len(separator)
    return ranges


def _spans(text: str, start: int, end: int, marked: tuple[int, int]) -> Iterator[Span]:
    """The range cut where the mark begins and ends."""
    first, last = (min(max(edge, start), end) for edge in marked)
    for begin, stop, is_marked in ((start, first, False), (first, last, True), (last, end, False)):
        if begin < stop:
            yield Span(text[begin:stop], is_marked)
