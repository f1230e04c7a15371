"""Where in a document something stands, in words that people use."""

from collections.abc import Sequence
from typing import Any, Protocol

CELLS = " | "
HEADING_CHARACTERS = 300
"""A table's header stands at the end of a chunk's path of headings, cut to this length."""


def place(kind: str, page: int | None, label: str = "") -> str:
    """``page 3``, ``page iv (4)``, ``slide 3``, ``sheet Budget``, ``part 2 (report.pdf)``; empty without pages."""
    if page is None:
        return ""
    if label and kind == "sheet":
        return f"sheet {label}"
    if label and kind == "page":
        return f"page {label} ({page})"
    return f"{kind} {page} ({label})" if label else f"{kind} {page}"


class Placed(Protocol):
    """What stands on a page: a hit, a citation."""

    page: int | None
    page_kind: str
    page_label: str


def place_json(placed: Placed) -> dict[str, Any]:
    """What the API says beside the number of the page."""
    return {
        "page_kind": None if placed.page is None else placed.page_kind,
        "page_label": placed.page_label or None,
        "place": place(placed.page_kind, placed.page, placed.page_label),
    }


def heading_path(headings: Sequence[str], label: str = "", table_header: str = "") -> list[str]:
    """The headings that a passage stands under, without what its place and its table's header say already."""
    path = list(headings)
    if table_header and path and path[-1] == table_header[:HEADING_CHARACTERS]:
        path.pop()
    return [heading for heading in path if heading != label]


def header_over(quote: str, kind: str, table_header: str) -> str:
    """The line that names the columns of a quoted row; empty where the quote is no row, or holds that line itself.

    ``kind`` and ``table_header`` are those of the chunk that the quote is from.
    """
    if not table_header or table_header in " ".join(quote.split()):
        return ""
    cells, columns = (line.count(CELLS) for line in (quote.strip().partition("\n")[0], table_header))
    is_row = 0 < cells <= columns if columns else kind == "table"  # in a PDF cells are only words on a line
    return table_header if is_row else ""
