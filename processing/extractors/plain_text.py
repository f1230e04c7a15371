"""Plain text in any encoding. The text is the decoded file itself, character for character."""

import codecs
import re
from collections.abc import Iterator
from mmap import mmap
from typing import Final

from charset_normalizer import from_bytes

from processing.extractors.blocks import Report, refuse_too_long
from ragsite.extraction import Block, Extraction, ExtractionRefused, Limits

_MARKS: Final = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_SAMPLE: Final = 256 * 1024
_JAPANESE: Final = ("iso2022_jp", "cp932", "euc_jp")
_SHIFT_SEQUENCE: Final = b"\x1b$B"
"""ISO-2022-JP is made of ASCII bytes: this switches to Japanese."""
_KANA = re.compile(r"[\u3041-\u30fa]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MOST_CONTROLS: Final = 0.02
_MOST_DAMAGE: Final = 0.05
_PARAGRAPH = re.compile(r"\S(?:.*\S)?(?:[^\S\r\n]*(?:\r\n|\r|\n)[^\S\r\n]*\S(?:.*\S)?)*")

BINARY: Final = "This file holds no text that could be read: it looks like binary data. Upload a document instead."


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The file as it is; a block for each paragraph, which an empty line ends."""
    text = decode(bytes(data), limits)
    blocks = [Block("paragraph", start, end) for start, end in paragraphs(text)]
    refuse_blank(blocks)
    return Extraction(text, blocks=blocks)


def paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Where the paragraphs between empty lines begin and end."""
    return (match.span() for match in _PARAGRAPH.finditer(text))


def refuse_blank(blocks: list[Block]) -> None:
    """Raises `empty` for a file of nothing but white space."""
    if not blocks:
        raise ExtractionRefused("empty", "The file holds nothing but blanks.")


def decode(data: bytes, limits: Limits, declared: str | None = None) -> str:
    """The text of these bytes: as their mark or ``declared`` says, else as they look. NULs become U+FFFD.

    Raises `unsupported` for what is no text, `empty` for nothing.
    """
    refuse_too_long(len(data) // 4, limits)
    text = _marked(data) or _declared(data, declared) or _guessed(data)
    refuse_too_long(len(text), limits)
    if len(_CONTROLS.findall(text[:_SAMPLE])) > _MOST_CONTROLS * min(len(text), _SAMPLE):
        raise ExtractionRefused("unsupported", BINARY)
    return text.replace("\x00", "\ufffd")


def _marked(data: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return None


def _declared(data: bytes, encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        text = data.decode("cp1252" if encoding.lower() in ("iso-8859-1", "latin-1", "ascii") else encoding)
    except (LookupError, ValueError):
        return None
    return text if isinstance(text, str) else None


def _guessed(data: bytes) -> str:
    wide = _wide_encoding(data[:_SAMPLE])
    if wide:
        return data.decode(wide, "replace")
    if _SHIFT_SEQUENCE in data:
        return _japanese(data) or _by_statistics(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _slightly_damaged(data) or _japanese(data) or _by_statistics(data)


def _wide_encoding(sample: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of its ASCII characters is a NUL."""
    zeros_even, zeros_odd = sample[::2].count(0), sample[1::2].count(0)
    if max(zeros_even, zeros_odd) * 10 < len(sample):
        return None
    if zeros_odd > 4 * zeros_even:
        return "utf-16-le"
    return "utf-16-be" if zeros_even > 4 * zeros_odd else None


def _slightly_damaged(data: bytes) -> str | None:
    """UTF-8 with a few bytes broken, as at the end of a file that was cut off."""
    text = data.decode("utf-8", "replace")
    foreign = len(_NOT_ASCII.findall(text))
    return text if text.count("\ufffd") <= _MOST_DAMAGE * foreign else None


def _japanese(data: bytes) -> str | None:
    """The Japanese encodings overlap with the Korean and Chinese ones; kana tell them."""
    for encoding in _JAPANESE:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if len(_KANA.findall(text)) * 4 > len(_NOT_ASCII.findall(text)):
            return text
    return None


def _by_statistics(data: bytes) -> str:
    best = from_bytes(data[:_SAMPLE]).best()
    if best is None:
        raise ExtractionRefused("unsupported", BINARY)
    likely = "cp1252" if "cp1252" in best.could_be_from_charset else best.encoding
    return data.decode(likely, "replace")
