"""What a file is, told from its content."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from documents.sniffing import HEAD_BYTES, UnsupportedFormat, sniff
from ragsite.extraction import (
    CSV,
    DOCX,
    EML,
    EPUB,
    HTML,
    JSON,
    JSON_LINES,
    MARKDOWN,
    MSG,
    ODP,
    ODS,
    ODT,
    PDF,
    PLAIN_TEXT,
    PPTX,
    RTF,
    XLS,
    XLSX,
)
from ragsite.layout import PROJECT_DIR

FORMATS = PROJECT_DIR.parent / "shared" / "data" / "formats"
EXPECTED = {
    "pdf": PDF, "docx": DOCX, "html": HTML, "md": MARKDOWN, "csv": CSV, "txt": PLAIN_TEXT, "pptx": PPTX, "xlsx": XLSX,
    "xls": XLS, "odt": ODT, "rtf": RTF, "epub": EPUB, "eml": EML, "msg": MSG, "jpg": "image/jpeg",
}  # fmt: skip


def kind_of(content: bytes, filename: str = "unnamed") -> str:
    return sniff(content[:HEAD_BYTES], io.BytesIO(content), filename)


def refusal_of(content: bytes, filename: str = "unnamed") -> UnsupportedFormat:
    with pytest.raises(UnsupportedFormat) as caught:
        kind_of(content, filename)
    return caught.value


def zipped(*names: str, first: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, first)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "filename", "expected"),
    [
        (b"%PDF-1.7\n...", "scan.txt", PDF),
        (b"\n\njunk %PDF-1.4\n", "unnamed", PDF),
        (zipped("[Content_Types].xml", "word/document.xml"), "letter.zip", DOCX),
        (zipped("word/document.xml", "word/embeddings/sheet.xlsx/xl/workbook.xml"), "letter.docx", DOCX),
        (zipped("[Content_Types].xml", "xl/worksheets/sheet1.xml", "xl/workbook.xml"), "letter.docx", XLSX),
        (zipped("[Content_Types].xml", "xl/workbook.bin"), "binary.xlsb", XLS),
        (zipped("ppt/presentation.xml", "ppt/embeddings/xl/workbook.xml"), "talk", PPTX),
        (zipped("mimetype", first=b"application/epub+zip"), "book", EPUB),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.text"), "text", ODT),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.spreadsheet"), "sheet", ODS),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.presentation"), "talk", ODP),
        (b"{\\rtf1 hello}", "letter.doc", RTF),
        (b"From: a@example.com\nTo: b@example.com\nSubject: hi\nDate: today\n\nHello", "unnamed", EML),
        (b'{"name": "Anna"}', "data.json", JSON),
        (b"[1, 2]", "data.json", JSON),
        (b' [ {"name": 1}]', "unnamed", JSON),
        (b'{"name": "Anna"}\n{"name": "Ben"}', "data.jsonl", JSON_LINES),
        (b'{"name": "Anna"}', "words.txt", PLAIN_TEXT),
        (b"{curly} words", "unnamed", PLAIN_TEXT),
        (b"no data", "data.json", PLAIN_TEXT),
        (b"\x89PNG\r\n\x1a\n....", "letter.pdf", "image/png"),
        (b"\xff\xd8\xff\xe0....", "unnamed", "image/jpeg"),
        (b"RIFF....WEBPVP8 ", "unnamed", "image/webp"),
        (b"BM\x36\x00\x0c\x00" + bytes(4) + b"\x36\0\0\0\x28\0\0\0", "unnamed", "image/bmp"),
        (b"BMW builds cars", "unnamed", PLAIN_TEXT),
        (b"<!DOCTYPE html><p>Hello", "page.txt", HTML),
        (b"\xef\xbb\xbf<!-- note -->\n<html lang=en>", "page", HTML),
        ("<!doctype html><p>Grüße".encode("utf-16"), "page", HTML),
        (b"<p>a fragment", "part.html", HTML),
        (b"a < b, and <p> is a tag", "notes.txt", PLAIN_TEXT),
        (b"# Notes", "README.MD", MARKDOWN),
        (b"a;b\n1;2", "table.csv", CSV),
        (b"a\tb\n1\t2", "table.tsv", CSV),
        (b"just words", "words.xyz", PLAIN_TEXT),
        (b"Subject: a letter that somebody typed\n\nDear...", "letter.txt", PLAIN_TEXT),
        ("schöne Grüße".encode("latin-1"), "old.txt", PLAIN_TEXT),
        ("こんにちは、世界".encode("shift_jis"), "sjis.txt", PLAIN_TEXT),
        ("plain words".encode("utf-16-le"), "wide.txt", PLAIN_TEXT),
        (b" " * HEAD_BYTES + b"late", "late.txt", PLAIN_TEXT),
    ],
)
def test_the_content_tells_the_kind(content: bytes, filename: str, expected: str) -> None:
    assert kind_of(content, filename) == expected


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"....ftypmp42", "video"),
        (b"\x1f\x8b\x08....", "gzip archive"),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.graphics"), "OpenDocument file of another kind"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "(.doc)"),
        (zipped("photos/1.jpg"), "ZIP archive"),
        (bytes(range(256)) * 4, "binary data"),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, found: str) -> None:
    error = refusal_of(content, "looks-fine.txt")
    assert error.code == "unsupported"
    assert found in error.detail


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\n" * (HEAD_BYTES + 10)])
def test_a_blank_file_is_empty(content: bytes) -> None:
    assert refusal_of(content).code == "empty"


def test_the_file_is_left_at_its_beginning() -> None:
    file = io.BytesIO(zipped("word/document.xml"))
    sniff(file.getvalue(), file, "letter.docx")
    assert file.tell() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"<!-- -->" * 8000,
        b"<p " * 20000,
        b"From: a\r\n" + b" \r\n" * 2000 + b"x",
        b" " * 60000 + b"x",
        b"<?xml " * 9000,
    ],
)
def test_no_content_makes_the_look_at_it_take_for_ever(content: bytes) -> None:
    for name in ("page.html", "letter.eml", "unnamed"):
        assert kind_of(content, name) in {HTML, PLAIN_TEXT}


def listed() -> list[dict[str, Any]]:
    manifest = FORMATS / "manifest.json"
    return json.loads(manifest.read_text())["files"] if manifest.exists() else []


@pytest.mark.skipif(not FORMATS.exists(), reason="../shared/data/formats is not here")
@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry["file"])
def test_shared_files_are_told_apart(entry: dict[str, Any]) -> None:
    content = Path(FORMATS / entry["file"]).read_bytes()
    if entry["file"] == "empty.txt":
        assert refusal_of(content, entry["file"]).code == "empty"
    elif entry["file"] in ("password-pass.docx", "password.xlsx"):
        assert refusal_of(content, entry["file"]).code == "encrypted"
    elif entry["format"] in EXPECTED:
        assert kind_of(content, entry["file"]) == EXPECTED[entry["format"]]
    else:
        assert refusal_of(content, entry["file"]).code == "unsupported"
