"""Collecting a document's text block by block."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ragsite.extraction import Block, BlockKind, Extraction, ExtractionRefused, Limits

Report = Callable[[float, int | None], None]
"""Told now and then how far the work is: a fraction, and the pages done where there are any."""

SEPARATOR = "\n\n"
CELL_SEPARATOR = " | "
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
    _length: int = 0

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
        self._blocks.append(Block(kind, start, end, level, None, header))
        self._length = end

    def add_table(self, rows: list[list[str]]) -> None:
        """Append a table, a line a row; rows without text are left out."""
        filled = [row for row in rows if any(row)]
        self.add("table", "\n".join(map(CELL_SEPARATOR.join, filled)), header=has_header(filled))

    def finish(self, title: str | None = None, metadata: dict[str, str] | None = None) -> Extraction:
        """The document; its title is the first heading unless it has one of its own. Raises `no_text`."""
        text = "".join(self._parts)
        if not text:
            raise ExtractionRefused("no_text", "No text was found in this file.")
        return Extraction(text, [], self._blocks, title or first_heading(text, self._blocks), None, metadata or {})


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
