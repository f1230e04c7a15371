"""Text on pictures and scanned pages, where text recognition is installed, and what is said where it is not."""

import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF
from PIL import Image, ImageDraw

from processing.extractors import pdf, recognition
from processing.extractors.blocks import TextBuilder
from processing.extractors.recognition import Line, add_lines
from ragsite.extraction import JPEG, PDF, PNG, TIFF, ExtractionRefused, Limits
from ragsite.sandbox import SandboxClient

INSTALLED = importlib.util.find_spec("rapidocr") is not None
needs_recognition = pytest.mark.skipif(not INSTALLED, reason="text recognition (requirements-ocr.txt) is not installed")
without_recognition = pytest.mark.skipif(INSTALLED, reason="text recognition is installed")


@pytest.fixture
def client(sandbox_service: Path) -> SandboxClient:
    return SandboxClient(sandbox_service)


def picture(*lines: str) -> Image.Image:
    drawn = Image.new("RGB", (1000, 60 + 70 * len(lines)), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(drawn).text((30, 30 + 70 * number), line, fill="black", font_size=44)
    return drawn


def saved(drawn: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    content = io.BytesIO()
    drawn.save(content, kind, **options)
    return content


def half_scanned() -> io.BytesIO:
    """A PDF of a page of text, an empty one, and two that are pictures."""
    document = FPDF()
    document.add_page()
    document.set_font("Helvetica", size=11)
    document.cell(text="The printed words.")
    document.add_page()
    for text in ("A scanned page", "Another one"):
        document.add_page()
        document.image(picture(text), w=180)
    return io.BytesIO(bytes(document.output()))


def placed(*lines: tuple[str, int, int, int]) -> list[Line]:
    """Lines of text at (left, top) with a width, 20 high."""
    return [Line(text, left, top, left + width, top + 20) for text, left, top, width in lines]


def read(lines: list[Line]) -> list[tuple[str, str]]:
    builder = TextBuilder(Limits())
    add_lines(builder, lines)
    found = builder.finish()
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


def test_columns_are_read_one_after_the_other_and_lines_become_paragraphs() -> None:
    left = [(f"left line number {n} of con-", 0, 100 + 24 * n, 400) for n in range(5)]
    right = [(f"tinued right line {n} here", 450, 100 + 24 * n, 400) for n in range(5)]
    title, footer = ("A title over both of the columns", 200, 20, 500), ("7", 420, 400, 20)
    found = read(placed(*right, *left, title, footer))
    assert [kind for kind, _ in found] == ["paragraph"] * 4
    assert found[0][1] == "A title over both of the columns"
    assert found[1][1].startswith("left line number 0 of conleft")
    assert found[2][1].startswith("tinued right line 0 here tinued")


def test_rows_of_short_cells_are_a_table() -> None:
    rows = [
        (text, 300 * column, 30 * row, 100)
        for row in range(4)
        for column, text in enumerate(("Heart rate", "78", "ok"))
    ]
    assert read(placed(*rows)) == [("table", "\n".join(["Heart rate | 78 | ok"] * 4))]


def test_no_line_is_lost_however_they_lie() -> None:
    lines = placed(*[(f"line number {n} with words", n * 37 % 600, n * 53 % 700, 90 + n * 71 % 500) for n in range(60)])
    text = " ".join(text for _, text in read(lines))
    assert all(f"line number {n} with" in text for n in range(60))


@without_recognition
@pytest.mark.parametrize("kind", [PNG, JPEG])
def test_a_picture_is_refused_with_a_sentence_that_names_what_is_missing(client: SandboxClient, kind: str) -> None:
    with pytest.raises(ExtractionRefused, match="OCR") as caught:
        client.extract(saved(picture("hello"), "PNG"), kind)
    assert caught.value.code == "no_text"


@without_recognition
def test_scanned_pages_among_others_are_told(client: SandboxClient) -> None:
    found = client.extract(half_scanned(), PDF)
    assert found.text == "The printed words."
    assert [page.number for page in found.pages] == [1, 2, 3, 4]
    (warning,) = found.warnings
    assert "3–4" in warning
    assert "OCR" in warning


@needs_recognition
def test_scanned_pages_are_read(client: SandboxClient) -> None:
    found = client.extract(half_scanned(), PDF)
    assert [found.text[page.start : page.end] for page in found.pages] == [
        "The printed words.", "", "A scanned page", "Another one",
    ]  # fmt: skip
    assert found.warnings == []
    assert [block.page for block in found.blocks] == [1, 3, 4]
    assert client.locate(half_scanned(), 3, 0, 5) == []


def test_recognition_stops_in_time_and_tells_what_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "is_loaded", lambda: True)
    found = pdf.extract(half_scanned().getvalue(), Limits(wall_seconds=0), lambda fraction, pages: None)
    assert found.text == "The printed words."
    (warning,) = found.warnings
    assert "took longer than is allowed: 3–4" in warning


@needs_recognition
def test_a_picture_of_several_pages_is_read(client: SandboxClient) -> None:
    content = saved(picture("A first page"), "TIFF", save_all=True, append_images=[picture("A second page")])
    found = client.extract(content, TIFF)
    assert [found.text[page.start : page.end] for page in found.pages] == ["A first page", "A second page"]


@needs_recognition
def test_a_picture_lying_on_its_side_is_turned(client: SandboxClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(picture("Upright again").rotate(90, expand=True), "JPEG", exif=exif)
    assert client.extract(content, JPEG).text == "Upright again"


@needs_recognition
@pytest.mark.parametrize(("content", "code"), [(b"\x89PNG\r\n\x1a\n" + bytes(50), "broken"), (b"", "empty")])
def test_a_damaged_picture_is_refused(client: SandboxClient, content: bytes, code: str) -> None:
    with pytest.raises(ExtractionRefused) as caught:
        client.extract(io.BytesIO(content), PNG)
    assert caught.value.code == code


@needs_recognition
def test_a_picture_without_words_is_refused(client: SandboxClient) -> None:
    with pytest.raises(ExtractionRefused) as caught:
        client.extract(saved(Image.new("RGB", (300, 300), "white"), "PNG"), PNG)
    assert caught.value.code == "no_text"
