"""What a file is, judged by its content; its name only tells kinds of text apart.

Bounded: looks at the beginning and the end of a file and unpacks nothing.
"""

import codecs
import os
import re
from pathlib import PurePosixPath
from typing import Final

from ragsite.extraction import (
    BMP,
    CSV,
    DOCX,
    EML,
    EPUB,
    GIF,
    HTML,
    JPEG,
    JSON,
    JSON_LINES,
    MARKDOWN,
    MSG,
    ODP,
    ODS,
    ODT,
    PDF,
    PLAIN_TEXT,
    PNG,
    PPTX,
    RTF,
    TIFF,
    WEBP,
    XLS,
    XLSX,
    SeekableFile,
)

HEAD_BYTES: Final = 64 * 1024
_TAIL_BYTES: Final = 256 * 1024
_OLE_BYTES: Final = 4 * 1024 * 1024
_TAKEN: Final = (
    "This site reads PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx, .xls), OpenDocument, RTF, EPUB, e-mail "
    "(.eml, .msg), HTML, Markdown, CSV, JSON, plain text, and pictures of text where text recognition is installed."
)

_SIGNATURES: Final[list[tuple[bytes, str]]] = [
    (b"8BPS", "a Photoshop picture"),
    (b"%!PS", "a PostScript file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a Windows program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ID3", "a sound recording"),
    (b"\xff\xfb", "a sound recording"),
    (b"OggS", "a sound recording"),
    (b"fLaC", "a sound recording"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
]
_PICTURES: Final[list[tuple[bytes, str]]] = [
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
]
_RIFF_KINDS: Final = {b"WAVE": "a sound recording", b"AVI ": "a video"}
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ODF: Final = b"mimetypeapplication/vnd.oasis.opendocument."
_ZIP_KINDS: Final[list[tuple[bytes, str]]] = [
    (b"word/", DOCX),
    (b"ppt/presentation", PPTX),
    (b"xl/workbook", XLSX),  # or the binary kind, which the old format's reader takes
    (b"mimetypeapplication/epub+zip", EPUB),
    (_ODF + b"text", ODT),
    (_ODF + b"spreadsheet", ODS),
    (_ODF + b"presentation", ODP),
    (_ODF, "an OpenDocument file of another kind"),
    (b"META-INF/MANIFEST.MF", "a Java archive"),
]
"""What is named first in the archive decides; of two marks at the same place the earlier in this list."""
_READ_ZIPS: Final = frozenset({DOCX, PPTX, XLSX, XLS, EPUB, ODT, ODS, ODP})
_ZIP_NAMES: Final = {".docx": DOCX, ".pptx": PPTX, ".xlsx": XLSX, ".epub": EPUB}
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_KINDS: Final[list[tuple[str, str, str]]] = [
    ("WordDocument", "a Word document in the old format (.doc)", "Save it as .docx and upload that."),
    ("PowerPoint Document", "a PowerPoint presentation in the old format (.ppt)", "Save it as .pptx and upload that."),
]
# possessive: an upload must not be able to make these take for ever
_HTML_START = re.compile(r"(?:\s++|<\?xml[^>]*+>|(?><!--.*?-->))*+<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_HTML_TAG = re.compile(r"<(?:html|head|body|div|p|h[1-6]|table|ul|ol|title|meta|br|a)\b[^>]{0,200}>", re.I)
_MAIL_START = re.compile(r"(?:[A-Za-z][A-Za-z-]*+:[ \t][^\r\n]*+\r?\n(?:[ \t][^\r\n]*+\r?\n)*+){2,}+")
_MAIL_HEADERS = re.compile(r"^(?:from|to|subject|date|received|message-id|mime-version|return-path):", re.I | re.M)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MOST_CONTROLS: Final = 0.02
_MARKDOWN_NAMES: Final = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mkdn"})
_CSV_NAMES: Final = frozenset({".csv", ".tsv", ".tab"})
_JSON_NAMES: Final = frozenset({".json", ".geojson", ".ipynb", ".jsonld"})
_JSON_LINES_NAMES: Final = frozenset({".jsonl", ".ndjson"})
_TEXT_NAMES: Final = _MARKDOWN_NAMES | _CSV_NAMES | {".txt", ".text", ".log", ".rst", ".org"}
_JSON_START = re.compile(r"\s*+(?:\[\s*+)?\{\s*+(?:\}|\"[^\"\n]{0,200}\"\s*+:)")
_HTML_NAMES: Final = frozenset({".html", ".htm", ".xhtml"})


class UnsupportedFormat(Exception):
    """The file is of no kind that is read here.

    ``code`` is `unsupported`, `empty` or `encrypted`; ``detail`` tells the person what was found and what to do.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def sniff(head: bytes, file: SeekableFile, filename: str) -> str:
    """The content type of a file whose first bytes (HEAD_BYTES of them, or all) are ``head``.

    ``file`` is read and left at its beginning. Raises UnsupportedFormat.
    """
    try:
        return _sniff(head, file, filename)
    finally:
        file.seek(0)


def _sniff(head: bytes, file: SeekableFile, filename: str) -> str:
    if not head.strip() and _is_blank_after(file, len(head)):
        raise UnsupportedFormat("empty", "The file is empty.")
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(_ZIP):
        return _sniff_zip(head + _tail(file), filename)
    if head.startswith(_OLE):
        return _sniff_ole(file)
    if head.startswith(b"{\\rtf"):
        return RTF
    picture = _picture(head)
    if picture:
        return picture
    kind = _known_kind(head)
    if kind:
        raise UnsupportedFormat("unsupported", f"This is {kind}, which is not read here. {_TAKEN}")
    return _sniff_text(_decoded(head), PurePosixPath(filename.lower()).suffix)


def _is_blank_after(file: SeekableFile, start: int) -> bool:
    file.seek(start)
    return not any(part.strip() for part in iter(lambda: file.read(1024 * 1024), b""))


def _tail(file: SeekableFile) -> bytes:
    """The end of the file, where a ZIP lists its parts."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read(_TAIL_BYTES)


def _sniff_zip(content: bytes, filename: str) -> str:
    """By the part that is named first: a document may hold other documents."""
    places = [(content.find(mark), -len(mark), kind) for mark, kind in _ZIP_KINDS if mark in content]
    kind = min(places)[2] if places else None
    if kind is None and b"[Content_Types].xml" in content:
        kind = _ZIP_NAMES.get(PurePosixPath(filename.lower()).suffix)
    if kind is None:
        detail = f"This is a ZIP archive. Unpack it and upload the documents in it. {_TAKEN}"
        raise UnsupportedFormat("unsupported", detail)
    if kind not in _READ_ZIPS:
        raise UnsupportedFormat("unsupported", f"This is {kind}, which is not read here. {_TAKEN}")
    return XLS if kind == XLSX and b"xl/workbook.bin" in content else kind


def _sniff_ole(file: SeekableFile) -> str:
    """Old office files, by the names of the streams in them. A message's come first: it may hold the others."""
    file.seek(0)
    content = file.read(_OLE_BYTES) + _tail(file)
    if _wide("EncryptedPackage") in content:
        detail = "This document is protected by a password. Remove the password and upload it again."
        raise UnsupportedFormat("encrypted", detail)
    if _wide("__properties_version1.0") in content:
        return MSG
    for mark, kind, remedy in _OLE_KINDS:
        if _wide(mark) in content:
            raise UnsupportedFormat("unsupported", f"This is {kind}, which is not read here. {remedy}")
    if _wide("Workbook") in content or _wide("Book\0") in content:
        return XLS
    raise UnsupportedFormat("unsupported", f"This is a file in an old office format. {_TAKEN}")


def _wide(name: str) -> bytes:
    """A stream's name as it stands in an OLE container."""
    return name.encode("utf-16-le")


def _picture(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:2] == b"BM" and head[6:10] == bytes(4) and head[15:18] == bytes(3):
        return BMP
    return next((kind for signature, kind in _PICTURES if head.startswith(signature)), None)


def _known_kind(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return _RIFF_KINDS.get(head[8:12], "a media file")
    if head[4:8] == b"ftyp":
        return "a HEIC picture" if head[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "a video"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _decoded(head: bytes) -> str:
    """The beginning as text, good enough to tell kinds of text apart. Raises UnsupportedFormat for binary data."""
    text = head.decode(_wide_encoding(head) or "utf-8", "replace")
    if len(_CONTROLS.findall(text)) > _MOST_CONTROLS * len(text):
        raise UnsupportedFormat("unsupported", f"This file holds no text: it looks like binary data. {_TAKEN}")
    return text.removeprefix("\ufeff")


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 and UTF-32, by their mark or by the NULs in every other byte."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 10 < len(head):
        return None
    return "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else None


def _sniff_text(text: str, suffix: str) -> str:
    if _HTML_START.match(text) or (suffix in _HTML_NAMES and _HTML_TAG.search(text)):
        return HTML
    if _is_mail(text, suffix):
        return EML
    if _is_json(text, suffix):
        return JSON_LINES if suffix in _JSON_LINES_NAMES else JSON
    if suffix in _MARKDOWN_NAMES:
        return MARKDOWN
    return CSV if suffix in _CSV_NAMES else PLAIN_TEXT


def _is_json(text: str, suffix: str) -> bool:
    """By its beginning; a file whose name says that it is another kind of text is that."""
    if suffix in _JSON_NAMES | _JSON_LINES_NAMES:
        return text.lstrip().startswith(("{", "["))
    return suffix not in _TEXT_NAMES and _JSON_START.match(text) is not None


def _is_mail(text: str, suffix: str) -> bool:
    start = _MAIL_START.match(text[:8192])
    names = {name.lower() for name in _MAIL_HEADERS.findall(start.group())} if start else set()
    return len(names) >= (2 if suffix == ".eml" else 4)
