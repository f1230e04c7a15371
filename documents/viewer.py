"""What the source viewer shows of a document: pictures of pages, or text, with a passage marked."""

import logging
from dataclasses import dataclass, field
from typing import Any

from documents.models import Document, DocumentText
from documents.pages import NoSuchPage, passage_boxes
from documents.passages import Window, read_window
from ragsite.extraction import PDF, Box, ExtractionRefused
from ragsite.sandbox import SandboxUnavailable

logger = logging.getLogger(__name__)
PAGES_AT_ONCE = 30
MOST_MARKED = 5
"""Pages of one passage that are asked for boxes; a passage that is longer was made up by hand."""


@dataclass(frozen=True)
class Passage:
    """A span of the document's text, in code points, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class Rectangle:
    """A box as attributes of an SVG ``rect``: written out here, because templates would localise the numbers."""

    x: str
    y: str
    width: str
    height: str

    @classmethod
    def around(cls, box: Box) -> "Rectangle":
        sides = (box.left, box.top, box.right - box.left, box.bottom - box.top)
        return cls(*(f"{side:.5f}" for side in sides))


@dataclass(frozen=True)
class Picture:
    """A page, and where the passage stands on it."""

    number: int
    rectangles: list[Rectangle] = field(default_factory=list)
    label: str = ""
    """What is printed on it, where that is not its number."""


@dataclass(frozen=True)
class Pictures:
    """A stretch of pages; ``earlier`` and ``later`` are the page numbers to go on at."""

    pages: list[Picture]
    earlier: int | None
    later: int | None
    unmarked: bool = False


def has_pictures(document: Document) -> bool:
    return document.content_type == PDF and bool(document.page_count)


def show_pages(document: Document, number: int, passage: Passage | None, at_once: int = PAGES_AT_ONCE) -> Pictures:
    """The pages around one, with the passage's boxes on those that it runs over."""
    last_page = document.page_count or 1
    number = min(max(number, 1), last_page)
    first = max(1, min(number - 1, last_page - at_once + 1)) if at_once > 1 else number
    last = min(first + at_once - 1, last_page)
    pages = _pages(document)
    labels = {page["number"]: page.get("label") or "" for page in pages}
    wanted = [number for number in _pages_under(pages, passage) if first <= number <= last]
    marked, unmarked = _boxes(document, wanted[:MOST_MARKED], passage)
    return Pictures(
        [
            Picture(page, [Rectangle.around(box) for box in marked.get(page, [])], labels.get(page, ""))
            for page in range(first, last + 1)
        ],
        max(first - at_once + 1, 1) if first > 1 else None,
        last + 1 if last < last_page else None,
        unmarked,
    )


def page_of(document: Document, passage: Passage) -> int | None:
    """The page that the passage begins on."""
    return next(iter(_pages_under(_pages(document), passage)), None)


def show_text(document: Document, place: int, passage: Passage | None) -> Window | None:
    return read_window(document, place, (passage.start, passage.end) if passage else None)


def _boxes(document: Document, numbers: list[int], passage: Passage | None) -> tuple[dict[int, list[Box]], bool]:
    """Boxes by page, and whether they could not be had: the page is worth showing all the same."""
    if passage is None:
        return {}, False
    try:
        return {number: passage_boxes(document, number, passage.start, passage.end) for number in numbers}, False
    except (NoSuchPage, SandboxUnavailable, ExtractionRefused, OSError) as error:
        logger.warning("No boxes for document %s: %s", document.id, error)
        return {}, True


def _pages(document: Document) -> list[dict[str, Any]]:
    return DocumentText.objects.of(document).values_list("pages", flat=True).first() or []


def _pages_under(pages: list[dict[str, Any]], passage: Passage | None) -> list[int]:
    """The numbers of the pages that the passage runs over."""
    if passage is None:
        return []
    return [page["number"] for page in pages if page["start"] < passage.end and passage.start < page["end"]]
