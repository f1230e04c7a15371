"""Collecting a document's text block by block."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ragsite.extraction import Block, BlockKind, Extraction, ExtractionRefused, Limits, Page, PageKind

Report = Callable[[float, int | None], None]
"""Told now and then how far the work is: a fraction, and the pages done where there are any."""

SEPARATOR = "\n\n"
CELL_SEPARATOR = " | "
_DEEPEST_LEVEL = 6
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")
_NUMBER = re.compile(r"[-+($€£]*\d[\d.,\s]*[%)]*")
_SPACES = re.compile(r"[ \t\xa0\r\n]+")


def clean(text: str) -> str:
    """One line of text: no control characters, single spaces, none at the ends."""
    return _SPACES.sub(" ", _UNPRINTABLE.sub("", text)).strip()


@dataclass
class TextBuilder:
    """Joins blocks with an empty line between them and keeps their offsets. Raises `too_large` past the limit."""

    limits: Limits
    _parts: list[str] = field(default_factory=list)
    _blocks: list[Block] = field(default_factory=list)
    _pages: list[Page] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)
    _length: int = 0

    def begin_page(self, label: str | None = None) -> None:
        """What is added from here on stands on a page (slide, sheet, part) of its own."""
        self._pages.append(Page(len(self._pages) + 1, self._length, self._length, label))

    @property
    def holds_text(self) -> bool:
        return bool(self._parts)

    def warn(self, sentence: str) -> None:
        """Tell people once about something in the file that is not read."""
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    def add(self, kind: BlockKind, text: str, level: int | None = None, header: bool = False) -> None:
        """Append a block; one without text is left out."""
        if not text:
            return
        if self._parts:
            self._parts.append(SEPARATOR)
            self._length += len(SEPARATOR)
        start, end = self._length, self._length + len(text)
        refuse_too_long(end, self.limits)
        self._parts.append(text)
        self._blocks.append(Block(kind, start, end, level, self._stretch_page(start, end), header))
        self._length = end

    def _stretch_page(self, start: int, end: int) -> int | None:
        """Let the page that was begun last hold this block; its number."""
        if not self._pages:
            return None
        page = self._pages[-1]
        self._pages[-1] = replace(page, start=page.start if page.start < page.end else start, end=end)
        return page.number

    def add_table(self, rows: list[list[str]], header: bool = False) -> None:
        """Append a table, a line a row; rows without text are left out. ``header``: the first names the columns."""
        filled = [row for row in rows if any(row)]
        known = len(filled) > 1 and (header or has_header(filled))
        self.add("table", "\n".join(map(CELL_SEPARATOR.join, filled)), header=known)

    def add_list(self, items: list[str]) -> None:
        """Append a list, a line an item."""
        self.add("list", "\n".join(f"- {item}" for item in items))

    def add_extraction(self, inner: Extraction) -> None:
        """Append what was read of a file within this one, its headings below the one that names it."""
        for block in inner.blocks:
            level = min((block.level or 1) + 1, _DEEPEST_LEVEL) if block.kind == "heading" else None
            self.add(block.kind, inner.text[block.start : block.end], level, block.header)
        for sentence in inner.warnings:
            self.warn(sentence)

    def finish(
        self, title: str | None = None, metadata: dict[str, str] | None = None, page_kind: PageKind = "page"
    ) -> Extraction:
        """The document; its title is the first heading unless it has one of its own. Raises `no_text`."""
        text = "".join(self._parts)
        if not text:
            raise ExtractionRefused("no_text", " ".join(["No text was found in this file.", *self._warnings]))
        title = title or first_heading(text, self._blocks)
        count = len(self._pages) or None
        return Extraction(text, self._pages, self._blocks, title, count, metadata or {}, page_kind, self._warnings)


def has_header(rows: list[list[str]]) -> bool:
    """Whether a table's first row names its columns: it has several cells, and none is a number."""
    if len(rows) < 2 or sum(map(bool, rows[0])) < 2:
        return False
    return not any(_NUMBER.fullmatch(cell) for cell in rows[0] if cell)


def first_heading(text: str, blocks: list[Block]) -> str | None:
    """The first heading, as a title."""
    headings = (text[block.start : block.end] for block in blocks if block.kind == "heading")
    return next((clean(heading)[:300] for heading in headings), None)


def refuse_too_long(length: int, limits: Limits) -> None:
    """Raises `too_large` when a text of this many characters is more than allowed."""
    if length > limits.max_characters:
        raise ExtractionRefused(
            "too_large",
            f"The file holds more than {limits.max_characters:,} characters of text, which is as much as this site "
            "takes. Split it into smaller files and upload those.",
        )
