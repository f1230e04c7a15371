"""What a file is, judged by its content; its name only tells kinds of text apart.

Bounded: looks at the beginning and the end of a file and unpacks nothing.
"""

import codecs
import os
import re
from pathlib import PurePosixPath
from typing import Final

from ragsite.extraction import CSV, DOCX, HTML, MARKDOWN, PDF, PLAIN_TEXT, SeekableFile

HEAD_BYTES: Final = 64 * 1024
_TAIL_BYTES: Final = 256 * 1024
_OLE_BYTES: Final = 4 * 1024 * 1024
_TAKEN: Final = "This site reads PDF, Word (.docx), HTML, Markdown, CSV and plain text."

_SIGNATURES: Final[list[tuple[bytes, str]]] = [
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"{\\rtf", "an RTF document"),
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
_RIFF_KINDS: Final = {b"WEBP": "a WebP picture", b"WAVE": "a sound recording", b"AVI ": "a video"}
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_KINDS: Final[list[tuple[bytes, str]]] = [
    (b"word/", DOCX),
    (b"mimetypeapplication/epub+zip", "an EPUB book"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "an OpenDocument text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "an OpenDocument spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "an OpenDocument presentation"),
    (b"ppt/presentation", "a PowerPoint presentation"),
    (b"xl/workbook", "an Excel workbook"),
    (b"META-INF/MANIFEST.MF", "a Java archive"),
]
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_KINDS: Final[list[tuple[str, str, str]]] = [
    ("WordDocument", "a Word document in the old format (.doc)", "Save it as .docx and upload that."),
    ("Workbook", "an Excel workbook in the old format (.xls)", "Save the sheet as CSV and upload that."),
    ("PowerPoint Document", "a PowerPoint presentation in the old format (.ppt)", "Export it as PDF and upload that."),
    ("__properties_version1.0", "an Outlook message", "Save it as PDF or text and upload that."),
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
_JSON_NAMES: Final = frozenset({".json", ".jsonl", ".ndjson", ".geojson"})
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
        raise _old_office(file)
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
    found = {content.find(mark): kind for mark, kind in _ZIP_KINDS if mark in content}
    kind = found[min(found)] if found else None
    if kind == DOCX or (kind is None and b"[Content_Types].xml" in content and filename.lower().endswith(".docx")):
        return DOCX
    if kind is None:
        detail = f"This is a ZIP archive. Unpack it and upload the documents in it. {_TAKEN}"
        raise UnsupportedFormat("unsupported", detail)
    raise UnsupportedFormat("unsupported", f"This is {kind}, which is not read here yet. {_TAKEN}")


def _old_office(file: SeekableFile) -> UnsupportedFormat:
    file.seek(0)
    content = file.read(_OLE_BYTES) + _tail(file)
    if "EncryptedPackage".encode("utf-16-le") in content:
        detail = "This document is protected by a password. Remove the password and upload it again."
        return UnsupportedFormat("encrypted", detail)
    for mark, kind, remedy in _OLE_KINDS:
        if mark.encode("utf-16-le") in content:
            return UnsupportedFormat("unsupported", f"This is {kind}, which is not read here. {remedy}")
    return UnsupportedFormat("unsupported", f"This is a file in an old office format. {_TAKEN}")


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
        detail = f"This is an e-mail message, which is not read here yet. Save it as PDF or text. {_TAKEN}"
        raise UnsupportedFormat("unsupported", detail)
    if suffix in _JSON_NAMES and text.lstrip().startswith(("{", "[")):
        detail = f"This is JSON data, which is not read here yet. Save it as CSV or text. {_TAKEN}"
        raise UnsupportedFormat("unsupported", detail)
    if suffix in _MARKDOWN_NAMES:
        return MARKDOWN
    return CSV if suffix in _CSV_NAMES else PLAIN_TEXT


def _is_mail(text: str, suffix: str) -> bool:
    start = _MAIL_START.match(text[:8192])
    names = {name.lower() for name in _MAIL_HEADERS.findall(start.group())} if start else set()
    return len(names) >= (2 if suffix == ".eml" else 4)
