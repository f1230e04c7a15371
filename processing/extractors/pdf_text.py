"""The text of one PDF page, and the way back from each of its characters to PDFium's own.

Everything here is a function of the page alone, so that a quote can be found on its page again at any time.
PDFium hands out text in reading order with ``\\r\\n`` between lines and U+FFFE for a hyphen at a line's end. From
this come paragraphs: lines that belong together are joined, rows of tables stay lines.
"""

import ctypes
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from processing.extractors.pdf_notes import Rectangle, read_notes

_LINE_END = re.compile(r"\r\n|\n|\r|\ufffe")
_LAM_ALEF = re.compile("[\u0622\u0623\u0625\u0627]\u0644")
_SPECIAL = re.compile(
    r"[\x00-\x1f\x7f-\xa0\u00ad\u200b\u2060\ufeff\ufffe\uffff\ufb00-\ufdff\ufe70-\ufefc]"
    r"|[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]| {2,}|(?<=[A-Za-z])\u21b5(?=[a-z-])"
)
_BULLET = re.compile(r"(?:[•‣◦▪●○■□–—*·-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])\s")
_NUMBER = re.compile(r"[($€£¥]*[-–—+]?\d[\d.,]*[%)]*|[$€£¥%)—–-]+")
_NO_SPACE_SCRIPTS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u3130\u3190-\ua4cf\uf900-\ufaff\uff00-\uffef]"
)
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEFT_TO_RIGHT = re.compile(r"[A-Za-z\u00c0-\u058f]")
_WORD_BEFORE = re.compile(r"[^\W\d_]+$")
_WORD_AFTER = re.compile(r"[^\W\d_]+")


class Line(NamedTuple):
    """A printed line: its characters in PDFium's text, and its place in points, y upwards."""

    start: int
    end: int
    text: str
    left: float
    right: float
    bottom: float
    top: float
    hyphenated: bool

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def advance(self) -> float:
        """The width of a character, in line heights."""
        return (self.right - self.left) / max(len(self.text), 1) / max(self.height, 0.1)


class Run(NamedTuple):
    """Characters of the page's text and the units of PDFium's that they come from (as many, or all for all)."""

    start: int
    length: int
    raw_start: int
    raw_length: int


@dataclass(frozen=True)
class Paragraph:
    """Lines that belong together, as offsets into the page's text."""

    start: int
    end: int
    lines: int
    is_table: bool
    first_unit: int
    last_unit: int


@dataclass
class PageText:
    """A page's text with its paragraphs and the way back to PDFium's characters."""

    text: str = ""
    paragraphs: list[Paragraph] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[tuple[int, int, Rectangle]] = field(default_factory=list)
    """Notes and filled-in fields at the text's end: their offsets and their place in points."""
    _runs: list[Run] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _length: int = 0

    def units(self, start: int, end: int) -> list[tuple[int, int]]:
        """The ranges of PDFium's text units that a span of this text comes from, in order."""
        first = max(bisect_right(self._runs, start, key=lambda run: run.start) - 1, 0)
        ranges = []
        for run in self._runs[first:]:
            if run.start >= end:
                break
            low, high = max(start, run.start), min(end, run.start + run.length)
            if low >= high:
                continue
            if run.length == run.raw_length:
                ranges.append((run.raw_start + low - run.start, run.raw_start + high - run.start))
            else:
                ranges.append((run.raw_start, run.raw_start + run.raw_length))
        return ranges

    def add(self, text: str, raw_start: int, raw_length: int) -> None:
        """Append text that comes from these units (none for a space or line end put in between)."""
        if not text:
            return
        if raw_length:
            self._runs.append(Run(self._length, len(text), raw_start, raw_length))
        self._parts.append(text)
        self._length += len(text)

    @property
    def length(self) -> int:
        return self._length

    def finish(self) -> "PageText":
        self.text = "".join(self._parts)
        return self


def read_page(page: pdfium.PdfPage, textpage: pdfium.PdfTextPage) -> PageText:
    """The page's text, always the same for the same page: what is printed, then what is noted or filled in."""
    content = _printed(textpage)
    for note in read_notes(page):
        if content.length:
            content.add("\n\n", 0, 0)
        start = content.length
        content.add(note.text, 0, 0)
        content.notes.append((start, content.length, note.box))
    return content.finish()


def _printed(textpage: pdfium.PdfTextPage) -> PageText:
    raw = raw_text(textpage)
    lines = _lines(textpage, raw)
    page = PageText(lines=lines)
    for group in _paragraphs(lines):
        if page.length:
            page.add("\n\n", 0, 0)
        _add_paragraph(page, group, raw)
    return page


def raw_text(textpage: pdfium.PdfTextPage) -> str:
    """PDFium's text as UTF-16 units, one character each, so that positions are PDFium's text indices."""
    text = textpage.get_text_range(errors="surrogatepass")
    if text.isascii():
        return text
    if max(text) > "\uffff":
        units = memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
        text = "".join(map(chr, units))
    return _LAM_ALEF.sub(lambda match: _in_order(textpage, match), text)


def _in_order(textpage: pdfium.PdfTextPage, match: re.Match[str]) -> str:
    """An Arabic lam-alef is one glyph of two letters, which PDFium turns round with the line: turn them back."""
    first, second = match.group()[0], match.group()[1]
    one_glyph = _box(textpage, match.start()) == _box(textpage, match.start() + 1)
    return second + first if one_glyph else first + second


def _lines(textpage: pdfium.PdfTextPage, raw: str) -> list[Line]:
    lines: list[Line] = []
    start = 0
    for end_mark in [*_LINE_END.finditer(raw), None]:
        if end_mark is not None and end_mark.group() == "\ufffe" and not _is_hyphen(textpage, end_mark.start()):
            continue  # a letter that the file gives no meaning to
        end = end_mark.start() if end_mark else len(raw)
        stripped = raw[start:end].strip()
        if stripped:
            first = start + raw[start:end].index(stripped)
            hyphenated = end_mark is not None and end_mark.group() == "\ufffe"
            lines.append(_measured(textpage, stripped, first, hyphenated))
        start = end_mark.end() if end_mark else end
    return lines


def _is_hyphen(textpage: pdfium.PdfTextPage, unit: int) -> bool:
    index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, unit)
    return index >= 0 and pdfium_c.FPDFText_IsHyphen(textpage, index) == 1


def _measured(textpage: pdfium.PdfTextPage, text: str, start: int, hyphenated: bool) -> Line:
    """A line with its place, taken from its first, middle and last characters."""
    end = start + len(text)
    boxes = [_box(textpage, unit) for unit in (start, start + len(text) // 2, end - 1)]
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    tallest = max(boxes, key=lambda box: box[3] - box[1])
    return Line(start, end, text, left, right, tallest[1], tallest[3], hyphenated)


def _box(textpage: pdfium.PdfTextPage, unit: int) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a character, as tall as its font."""
    index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, unit)
    rectangle = pdfium_c.FS_RECTF()
    if index < 0 or not pdfium_c.FPDFText_GetLooseCharBox(textpage, index, ctypes.byref(rectangle)):
        return (0.0, 0.0, 0.0, 0.0)
    return (rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)


def _paragraphs(lines: list[Line]) -> list[list[Line]]:
    """Group lines: first into blocks that stand together, then those into paragraphs or rows of a table."""
    leading = _usual_leading(lines)
    blocks: list[list[Line]] = []
    for line in lines:
        if blocks and _stands_together(blocks[-1][-1], line, leading):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    paragraphs: list[list[Line]] = []
    for block in blocks:
        first, *others = _split_block(block)
        if paragraphs and _goes_on(paragraphs[-1][-1], first[0]):
            paragraphs[-1] += first
        else:
            paragraphs.append(first)
        paragraphs += others
    return paragraphs


def _usual_leading(lines: list[Line]) -> float:
    """The usual distance between baselines, in points."""
    steps = [a.bottom - b.bottom for a, b in pairwise(lines)]
    plausible = [step for step, line in zip(steps, lines, strict=False) if 0.7 < step / max(line.height, 0.1) < 2.2]
    return median(plausible) if plausible else 0.0


def _stands_together(line: Line, following: Line, leading: float) -> bool:
    if _on_one_line(line, following):
        return True
    size = max(line.height, 0.1)
    step = line.bottom - following.bottom
    return (
        abs(line.height - following.height) <= 0.15 * size
        and 0.3 * size < step <= max(1.25 * leading, 1.35 * size)
        and line.left < following.right
        and following.left < line.right
    )


def _on_one_line(line: Line, following: Line) -> bool:
    """Whether PDFium broke a printed line, as it does at a superscript."""
    size = max(line.height, following.height, 0.1)
    overlap = min(line.top, following.top) - max(line.bottom, following.bottom)
    gap = following.left - line.right
    return overlap > 0.5 * min(line.height, following.height) and -0.3 * size <= gap <= size


def _goes_on(line: Line, following: Line) -> bool:
    """Whether a sentence goes on elsewhere: after a hyphen, or at the top of the next column."""
    return line.hyphenated or (
        following.bottom > line.top
        and following.left >= line.right - line.height
        and abs(line.height - following.height) <= 0.15 * line.height
        and following.text[0].islower()
        and line.text[-1] not in ".!?:;"
    )


def _split_block(block: list[Line]) -> list[list[Line]]:
    left, right = min(line.left for line in block), max(line.right for line in block)
    rows = _rows(block)
    paragraphs = [[block[0]]]
    for position, (line, following) in enumerate(pairwise(block)):
        if line.hyphenated or _on_one_line(line, following):
            together = True
        elif rows[position] or rows[position + 1]:
            together = rows[position] and rows[position + 1]
        else:
            together = _continues(line, following, left, right)
        if together:
            paragraphs[-1].append(following)
        else:
            paragraphs.append([following])
    return paragraphs


def _rows(block: list[Line]) -> list[bool]:
    """Which lines are rows of a table: also one that holds a number between two others that are."""
    rows = [is_row(line) for line in block]
    for position in range(1, len(block) - 1):
        if rows[position - 1] and rows[position + 1] and any(map(str.isdigit, block[position].text)):
            rows[position] = True
    return rows


def _continues(line: Line, following: Line, left: float, right: float) -> bool:
    """Whether the next line goes on with this one's sentence."""
    if _BULLET.match(following.text):
        return False
    backwards = _is_right_to_left(line.text)
    room = line.left - left if backwards else right - line.right
    indent = right - following.right if backwards else following.left - left
    own_indent = right - line.right if backwards else line.left - left
    first_word = len(following.text.split(None, 1)[0]) + 1
    character = (following.right - following.left) / max(len(following.text), 1)
    starts_indented = indent > 0.8 * line.height and own_indent < 0.4 * line.height and indent < 5 * line.height
    return room <= first_word * character and not (starts_indented and room <= 0 and line.text[-1] in ".!?:。")


def is_row(line: Line) -> bool:
    """Whether a line looks like a table's row: numbers in columns, or gaps between its words."""
    words = line.text.split()
    numbers = sum(1 for word in words if _NUMBER.fullmatch(word))
    if numbers >= 2 and (numbers * 3 >= len(words) or all(map(_NUMBER.fullmatch, words[-2:]))):
        return True
    return len(words) >= 3 and line.advance > 0.85 and not _NO_SPACE_SCRIPTS.search(line.text)


def _is_right_to_left(text: str) -> bool:
    right_to_left = len(_RIGHT_TO_LEFT.findall(text))
    return right_to_left > 0 and right_to_left >= len(_LEFT_TO_RIGHT.findall(text))


def _add_paragraph(page: PageText, lines: list[Line], raw: str) -> None:
    start = page.length
    is_table = len(lines) > 1 and is_row(lines[0])
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        _add_line(page, line)
        if following is not None:
            _add_joint(page, line, following, raw, is_table)
    if page.length == start:
        return  # nothing but control characters
    page.paragraphs.append(Paragraph(start, page.length, len(lines), is_table, lines[0].start, lines[-1].end - 1))


def _add_line(page: PageText, line: Line) -> None:
    """Append a line's characters, the odd ones among them made plain."""
    position = 0
    for match in _SPECIAL.finditer(line.text):
        page.add(line.text[position : match.start()], line.start + position, match.start() - position)
        page.add(_plain(match.group()), line.start + match.start(), len(match.group()))
        position = match.end()
    page.add(line.text[position:], line.start + position, len(line.text) - position)


def _plain(special: str) -> str:
    """What stands for characters that nobody types: ligatures spelled out, spaces single, controls gone."""
    if len(special) == 2 and "\ud800" <= special[0] <= "\udbff":
        return special.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    if special[0] in " \t\xa0":
        return " "
    if special == "\u21b5":
        return "ff"  # what a widespread PDF writer makes of this ligature
    if special == "\ufffe":
        return "\ufffd"
    if special[0] >= "\ufb00":
        return unicodedata.normalize("NFKC", special) if special[0] <= "\ufefc" else ""
    return ""


def _add_joint(page: PageText, line: Line, following: Line, raw: str, is_table: bool) -> None:
    """What stands between two lines: nothing at a hyphen, else a space, or a line end between rows."""
    if line.hyphenated:
        page.add("" if _is_one_word(line.text, following.text, raw) else "-", line.end, 1)
    elif _on_one_line(line, following):
        page.add(" " if following.left - line.right > 0.15 * line.height else "", 0, 0)
    elif is_table:
        page.add("\n", 0, 0)
    elif not (_NO_SPACE_SCRIPTS.match(line.text[-1]) and _NO_SPACE_SCRIPTS.match(following.text[0])):
        page.add(" ", 0, 0)


def _is_one_word(before: str, after: str, raw: str) -> bool:
    """Whether a hyphen at a line's end only divides a word: not before a capital, nor if the page has it elsewhere."""
    first, second = _WORD_BEFORE.search(before), _WORD_AFTER.match(after)
    if first is None or second is None or not second.group()[0].islower():
        return False
    return f"{first.group()}-{second.group()}" not in raw
