"""PDF files, read with PDFium: the text page by page, headings guessed from the size of their letters."""

import ctypes
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from processing.extractors import recognition
from processing.extractors.blocks import SEPARATOR, Report, clean, refuse_too_long
from processing.extractors.pdf_text import PageText, Paragraph, read_page
from ragsite.extraction import Block, BlockKind, Extraction, ExtractionRefused, Limits, Page

_HEADING_LENGTH: Final = 160
_HEADING_LINES: Final = 3
_LARGER: Final = 1.12
_NEARLY: Final = 0.8
_BOLD_WEIGHT: Final = 600
_DEEPEST: Final = 6
_LIST_ITEM = re.compile(r"(?:[•‣◦▪●○■□–*·-]|\(?(?:\d{1,3}|[a-z])[.)])\s")
_LETTER = re.compile(r"[^\W\d_]")
_PLACEHOLDERS = re.compile(
    r"\(?(anonymous|untitled|unspecified|unknown)\)?|microsoft word - .*|\S+\.(docx?|indd|tex|dvi|pdf)|[\W\d_]*",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_TICK_BOXES = re.compile(r"[☐☑☒]")
_BOLD_NAME = re.compile(rb"bold|black|heavy|demi|-medi\b|cmbx", re.IGNORECASE)

_RECOGNITION_DPI: Final = 150
_RECOGNITION_PIXELS: Final = 12_000_000

NO_RECOGNITION: Final = "text recognition (OCR) is not installed on this site"
NO_TEXT: Final = (
    f"No text was found in this PDF. It looks like a scan, and {NO_RECOGNITION}. Upload a version with a text layer."
)
NOTHING_RECOGNISED: Final = "No text was found in this PDF, also not by text recognition (OCR)."


@dataclass(frozen=True)
class _Passage:
    """A paragraph of the document, with what tells a heading from the rest."""

    start: int
    end: int
    page: int
    text: str
    size: float
    lines: int
    is_table: bool
    is_bold: bool
    at_edge: bool


@dataclass
class _Reading:
    """What has been read so far."""

    parts: list[str] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    passages: list[_Passage] = field(default_factory=list)
    length: int = 0
    unread: list[int] = field(default_factory=list)
    """Pages that are pictures and could not be recognised."""


@contextmanager
def open_pdf(data: mmap | bytes) -> Iterator[pdfium.PdfDocument]:
    """Open a PDF in memory. Raises `encrypted` or `broken`."""
    content = (ctypes.c_ubyte * len(data)).from_buffer(data) if isinstance(data, mmap) else data
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        raise _refusal(error) from error
    try:
        if document.get_formtype() != pdfium_c.FORMTYPE_NONE:
            document.init_forms()
        yield document
    finally:
        document.close()


def _refusal(error: pdfium.PdfiumError) -> ExtractionRefused:
    if getattr(error, "err_code", None) in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
        return ExtractionRefused(
            "encrypted", "This PDF is protected by a password. Remove the password and upload it again."
        )
    return ExtractionRefused("broken", "This PDF is damaged and could not be opened. Save or export it anew.")


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """Read a PDF's text layer. Raises `no_text` where it has none."""
    with open_pdf(data) as document:
        count = len(document)
        _refuse_too_many(count, limits)
        reading, scans = _Reading(), _Scans(limits)
        for index in range(count):
            _read_one(document, index, reading, scans)
            refuse_too_long(reading.length, limits)
            report((index + 1) / count, index + 1)
        metadata = _metadata(document)
    if not reading.passages:
        raise ExtractionRefused("no_text", NOTHING_RECOGNISED if recognition.is_loaded() else NO_TEXT)
    text, blocks = "".join(reading.parts), _blocks(reading.passages)
    title = metadata.get("title") or _title(reading.passages, blocks)
    return Extraction(text, reading.pages, blocks, title, count, metadata, warnings=_warnings(reading.unread))


def _warnings(unread: list[int]) -> list[str]:
    if not unread:
        return []
    why = "recognising them took longer than is allowed" if recognition.is_loaded() else NO_RECOGNITION
    return [f"Not read, because these pages are pictures and {why}: {_ranges(unread)}."]


def _ranges(numbers: list[int]) -> str:
    """``2, 5–9`` for ascending numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


def _refuse_too_many(count: int, limits: Limits) -> None:
    if count == 0:
        raise ExtractionRefused("broken", "This PDF has no pages.")
    if count > limits.max_pages:
        raise ExtractionRefused(
            "too_many_pages",
            f"This PDF has {count:,} pages; this site takes up to {limits.max_pages:,}. Split it and upload the parts.",
        )


def _read_one(document: pdfium.PdfDocument, index: int, reading: _Reading, scans: "_Scans") -> None:
    """Append one page; a page that cannot be read counts as empty."""
    start = reading.length
    try:
        page = document[index]
    except pdfium.PdfiumError:
        reading.pages.append(Page(index + 1, start, start))
        return
    textpage = page.get_textpage()
    content = read_page(page, textpage)
    if not content.text and scans.is_one(page):
        _recognise_one(page, index, reading, scans)
        return
    if content.text and reading.parts:
        reading.parts.append(SEPARATOR)
        start += len(SEPARATOR)
    reading.parts.append(content.text)
    reading.length = start + len(content.text)
    reading.pages.append(Page(index + 1, start, reading.length, _label(document, index)))
    reading.passages += _passages(textpage, content, start, index + 1)
    textpage.close()
    page.close()


@dataclass
class _Scans:
    """Pages that are pictures, read by text recognition where it is installed and while there is time."""

    limits: Limits

    def __post_init__(self) -> None:
        self._budget = recognition.Budget(self.limits)

    def is_one(self, page: pdfium.PdfPage) -> bool:
        """Whether a page without text shows a picture, which may hold some."""
        return next(iter(page.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_IMAGE,), max_depth=3)), None) is not None

    def read(self, page: pdfium.PdfPage) -> Extraction | None:
        """The page's text; None where it cannot be had."""
        if not recognition.is_loaded() or self._budget.is_spent():
            return None
        width, height = page.get_size()
        scale = min(_RECOGNITION_DPI / 72, (_RECOGNITION_PIXELS / (width * height)) ** 0.5)
        return recognition.read(page.render(scale=scale).to_pil(), self.limits)


def _recognise_one(page: pdfium.PdfPage, index: int, reading: _Reading, scans: _Scans) -> None:
    """Append a page that is a picture."""
    found = scans.read(page)
    if found is None:
        reading.unread.append(index + 1)
    text = found.text if found else ""
    start = reading.length
    if text and reading.parts:
        reading.parts.append(SEPARATOR)
        start += len(SEPARATOR)
    reading.parts.append(text)
    reading.length = start + len(text)
    reading.pages.append(Page(index + 1, start, reading.length))
    for block in found.blocks if found else []:
        inner, is_table = text[block.start : block.end], block.kind == "table"
        place = (start + block.start, start + block.end, index + 1)
        reading.passages.append(_Passage(*place, inner[: _HEADING_LENGTH + 1], 0.0, 1, is_table, False, False))


def _label(document: pdfium.PdfDocument, index: int) -> str | None:
    label = clean(document.get_page_label(index))
    return label if label and label != str(index + 1) else None


def _passages(textpage: pdfium.PdfTextPage, content: PageText, offset: int, number: int) -> Iterator[_Passage]:
    last = len(content.paragraphs) - 1
    for position, paragraph in enumerate(content.paragraphs):
        text = content.text[paragraph.start : paragraph.end]
        yield _Passage(
            offset + paragraph.start,
            offset + paragraph.end,
            number,
            text[: _HEADING_LENGTH + 1],
            _font_size(textpage, paragraph.first_unit),
            paragraph.lines,
            paragraph.is_table,
            _could_be_heading(paragraph) and _is_all_bold(textpage, paragraph),
            position in (0, 1, last - 1, last),
        )
    for start, end, _ in content.notes:
        yield _Passage(offset + start, offset + end, number, content.text[start:end], 0.0, 1, False, False, False)


def _could_be_heading(paragraph: Paragraph) -> bool:
    return paragraph.end - paragraph.start <= _HEADING_LENGTH and not paragraph.is_table


def _font_size(textpage: pdfium.PdfTextPage, unit: int) -> float:
    """The size of a letter on the page, in half points: the font's size as the page's matrix scales it."""
    index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, unit)
    matrix = pdfium_c.FS_MATRIX()
    pdfium_c.FPDFText_GetMatrix(textpage, index, ctypes.byref(matrix))
    if abs(matrix.b) > abs(matrix.a):
        return 0.0  # it runs up or down the page's edge: a stamp, no heading
    scale = math.hypot(matrix.c, matrix.d) or 1.0
    return round(pdfium_c.FPDFText_GetFontSize(textpage, index) * scale * 2) / 2


def _is_all_bold(textpage: pdfium.PdfTextPage, paragraph: Paragraph) -> bool:
    """Whether its first and its last letter are: a bold word before plain ones makes no heading."""
    return _is_bold(textpage, paragraph.first_unit) and _is_bold(textpage, paragraph.last_unit)


def _is_bold(textpage: pdfium.PdfTextPage, unit: int) -> bool:
    """By the font's weight, or its name where the file does not tell the weight."""
    index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, unit)
    if pdfium_c.FPDFText_GetFontWeight(textpage, index) >= _BOLD_WEIGHT:
        return True
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    length = pdfium_c.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.byref(flags))
    return 0 < length <= len(name) and _BOLD_NAME.search(name.value) is not None


def _blocks(passages: list[_Passage]) -> list[Block]:
    body = _body_size(passages)
    running = _running_lines(passages)
    headings = [passage for passage in passages if _is_heading(passage, body, running)]
    sizes = sorted({passage.size for passage in headings if passage.size > body * _LARGER}, reverse=True)
    levels = {passage.start: _level(passage, sizes) for passage in headings}
    return [
        Block(_kind(passage, levels), passage.start, passage.end, levels.get(passage.start), passage.page)
        for passage in passages
    ]


def _title(passages: list[_Passage], blocks: list[Block]) -> str | None:
    """The first of the first page's headings that is hardly smaller than its largest."""
    starts = {block.start for block in blocks if block.kind == "heading" and block.page == 1}
    headings = [passage for passage in passages if passage.start in starts]
    largest = max((passage.size for passage in headings), default=0)
    return next((passage.text for passage in headings if passage.size >= _NEARLY * largest), None)


def _body_size(passages: list[_Passage]) -> float:
    """The size of most of the text's letters."""
    sizes: Counter[float] = Counter()
    for passage in passages:
        sizes[passage.size] += (passage.end - passage.start) * (passage.size > 0)
    return sizes.most_common(1)[0][0]


def _running_lines(passages: list[_Passage]) -> set[str]:
    """Headers and footers: what stands at the edge of three pages or more, numbers aside."""
    pages: dict[str, set[int]] = {}
    for passage in passages:
        if passage.at_edge:
            pages.setdefault(_DIGITS.sub("#", passage.text), set()).add(passage.page)
    return {text for text, numbers in pages.items() if len(numbers) >= 3}


def _is_heading(passage: _Passage, body: float, running: set[str]) -> bool:
    if passage.is_table or passage.lines > _HEADING_LINES or passage.end - passage.start > _HEADING_LENGTH:
        return False
    if not _LETTER.search(passage.text) or _TICK_BOXES.search(passage.text):
        return False
    if _DIGITS.sub("#", passage.text) in running:
        return False
    if passage.size > body * _LARGER:
        return True
    return passage.is_bold and passage.size >= body * 0.85 and passage.text[-1] not in ".,;:"


def _level(passage: _Passage, sizes: list[float]) -> int:
    """Larger letters stand higher; bold ones of the text's own size below them all."""
    rank = sizes.index(passage.size) if passage.size in sizes else len(sizes)
    return min(rank + 1, _DEEPEST)


def _kind(passage: _Passage, levels: dict[int, int]) -> BlockKind:
    if passage.start in levels:
        return "heading"
    if passage.is_table:
        return "table"
    return "list" if _LIST_ITEM.match(passage.text) else "paragraph"


def _metadata(document: pdfium.PdfDocument) -> dict[str, str]:
    """What the file says of itself, without the words that programs put there when nobody did."""
    found = document.get_metadata_dict(skip_empty=True)
    metadata = {key.lower(): clean(found[key])[:300] for key in ("Title", "Author", "Subject") if key in found}
    return {key: value for key, value in metadata.items() if not _PLACEHOLDERS.fullmatch(value)}
