"""Reading files of every kind, through the real sandbox."""

import io
import json
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF
from fpdf.encryption import EncryptionMethod
from PIL import Image

from documents.sniffing import HEAD_BYTES, UnsupportedFormat, sniff
from ragsite.extraction import CSV, DOCX, HTML, MARKDOWN, PDF, PLAIN_TEXT, Extraction, ExtractionRefused, Limits
from ragsite.layout import PROJECT_DIR
from ragsite.sandbox import Progress, SandboxClient

FORMATS = PROJECT_DIR.parent / "shared" / "data" / "formats"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
LOREM = (
    "Lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna."
)


@pytest.fixture
def client(sandbox_service: Path) -> SandboxClient:
    return SandboxClient(sandbox_service)


@pytest.fixture
def read(client: SandboxClient) -> Any:
    """``read(content, content_type)``: the extraction, checked for what holds of every one."""

    def read(content: bytes | str, content_type: str, **limits: Any) -> Extraction:
        data = content.encode() if isinstance(content, str) else content
        extraction = client.extract(io.BytesIO(data), content_type, Limits(**limits))
        check(extraction)
        return extraction

    return read


def check(extraction: Extraction) -> None:
    """Blocks lie in order, do not overlap and leave out nothing but blanks; so do pages."""
    for parts in filter(None, (extraction.blocks, extraction.pages)):
        position = 0
        for part in parts:
            assert position <= part.start <= part.end <= len(extraction.text)
            assert not extraction.text[position : part.start].strip()
            position = part.end
        assert not extraction.text[position:].strip()
    assert "\x00" not in extraction.text


def blocks(extraction: Extraction, kind: str | None = None) -> list[str]:
    return [extraction.text[block.start : block.end] for block in extraction.blocks if kind in (None, block.kind)]


def page_text(extraction: Extraction, number: int) -> str:
    page = extraction.pages[number - 1]
    return extraction.text[page.start : page.end]


def refused(read: Any, content: bytes | str, content_type: str, **limits: Any) -> ExtractionRefused:
    with pytest.raises(ExtractionRefused) as caught:
        read(content, content_type, **limits)
    assert caught.value.detail.endswith(".")
    return caught.value


# Files that others have stumbled over -----------------------------------------------------------------------------


def listed() -> list[dict[str, Any]]:
    manifest = FORMATS / "manifest.json"
    return json.loads(manifest.read_text())["files"] if manifest.exists() else []


def squeezed(text: str) -> str:
    """White space and line-end hyphens aside."""
    return re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", text))


def sniffed_and_read(client: SandboxClient, path: Path) -> Extraction:
    """The way of an upload: what is it, and what does it say? Raises ExtractionRefused or UnsupportedFormat."""
    with path.open("rb") as file:
        return client.extract(file, sniff(file.read(HEAD_BYTES), file, path.name))


REASONS = {
    "password": {"encrypted"},
    "damaged": {"broken"},
    "empty": {"empty"},
    "bomb": {"broken", "too_large"},
    "unsupported": {"unsupported"},
    "encrypted or empty": {"encrypted", "no_text"},
}


@pytest.mark.skipif(not FORMATS.exists(), reason="../shared/data/formats is not here")
@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry["file"])
def test_shared_files_do_what_their_manifest_says(client: SandboxClient, entry: dict[str, Any]) -> None:
    path = FORMATS / entry["file"]
    if entry["expected"] == "must_refuse":
        with pytest.raises((ExtractionRefused, UnsupportedFormat)) as caught:
            sniffed_and_read(client, path)
        assert caught.value.code in REASONS[entry["reason"]]
        return
    try:
        extraction = sniffed_and_read(client, path)
    except ExtractionRefused as refusal:
        allowed = {"no_text_layer": {"no_text"}, "text_or_refuse": {"broken", "no_text"}}
        if refusal.code not in allowed.get(entry["expected"], set()):
            raise
        return
    check(extraction)
    text = squeezed(extraction.text)
    wanted = entry["cells"] if "cells" in entry else entry["contains"]
    assert [part for part in wanted if squeezed(part) not in text] == []
    assert [part for part in entry.get("absent", []) if squeezed(part) in text] == []
    assert "pages" not in entry or extraction.page_count == entry["pages"]


# PDF --------------------------------------------------------------------------------------------------------------


def pdf(*pages: str, **options: Any) -> bytes:
    """A PDF with a page for each text; lines that begin with ``#`` are large, with ``!`` bold."""
    document = FPDF(**options)
    for text in pages:
        document.add_page()
        for line in text.split("\n"):
            size, style = (20, "B") if line.startswith("#") else (11, "B" if line.startswith("!") else "")
            document.set_font("Helvetica", style, size)
            document.multi_cell(0, size / 2, line.lstrip("#!"), new_x="LMARGIN", new_y="NEXT", align="L")
            document.ln(4)
    return bytes(document.output())


def drawn_pdf(content: str, unicode_map: str = "", rotate: int = 0) -> bytes:
    """A one-page PDF with this drawing, its font's characters meaning what the map says."""
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00> <FF> "
        f"endcodespacerange {unicode_map.count(chr(10)) + 1} beginbfchar\n{unicode_map}\nendbfchar endcmap end end"
    )
    to_unicode = "/ToUnicode 6 0 R" if unicode_map else ""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 600]/Rotate {rotate}/Contents 4 0 R"
        "/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream ",
        f"<</Type/Font/Subtype/Type1/BaseFont/Helvetica{to_unicode}>>",
        f"<</Length {len(cmap)}>>stream\n{cmap}\nendstream ",
    ]
    body = "".join(f"{number} 0 obj{content}endobj\n" for number, content in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF\n".encode("latin-1")


def lines_at(*lines: tuple[int, int, str]) -> str:
    return "BT /F1 10 Tf " + " ".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj" for x, y, text in lines) + " ET"


def test_a_pdf_has_pages_headings_and_paragraphs(read: Any) -> None:
    found = read(pdf(f"#Ducks\n{LOREM} {LOREM}\n!Food\nThey eat leaves.", "The second page."), PDF)
    assert found.page_count == 2
    assert [page.number for page in found.pages] == [1, 2]
    assert [(block.kind, block.level, block.page) for block in found.blocks] == [
        ("heading", 1, 1),
        ("paragraph", None, 1),
        ("heading", 2, 1),
        ("paragraph", None, 1),
        ("paragraph", None, 2),
    ]
    assert blocks(found)[1] == f"{LOREM} {LOREM}"
    assert page_text(found, 2) == "The second page."
    assert found.title == "Ducks"


def test_a_pdf_tells_how_far_it_is(client: SandboxClient) -> None:
    told: list[Progress] = []
    client.extract(io.BytesIO(pdf(*["words " * 400] * 120)), PDF, on_progress=told.append)
    assert told
    assert all(0 <= progress.progress <= 1 and progress.pages for progress in told)
    assert [entry.progress for entry in told] == sorted(entry.progress for entry in told)


def test_a_word_divided_at_a_line_end_is_put_together(read: Any) -> None:
    content = lines_at(
        (50, 500, "The people wanted to con-"), (50, 488, "gratulate the well-known"), (50, 476, "duck.")
    )
    assert read(drawn_pdf(content), PDF).text == "The people wanted to congratulate the well-known duck."


def test_a_hyphen_that_belongs_to_the_word_stays(read: Any) -> None:
    content = lines_at(
        (50, 500, "A well-known duck, and the well-"), (50, 488, "known goose of Anglo-"), (50, 476, "Saxony.")
    )
    assert read(drawn_pdf(content), PDF).text == "A well-known duck, and the well-known goose of Anglo-Saxony."


def test_columns_are_read_one_after_the_other(read: Any) -> None:
    left = [(50, 500 - 12 * row, f"left line number {row} of it all") for row in range(5)]
    right = [(220, 500 - 12 * row, f"right line number {row} of it all") for row in range(5)]
    text = read(drawn_pdf(lines_at(*left, *right)), PDF).text
    assert text.index("left line number 4") < text.index("right line number 0")
    assert "it all left line number 1" in text


def test_rows_of_a_table_stay_lines(read: Any) -> None:
    rows = [("Products", "96,388", "104,429"), ("Services", "20,766", "19,516"), ("Total", "117,154", "123,945")]
    cells = [
        (50 + 120 * column, 500 - 14 * row, cell) for row, line in enumerate(rows) for column, cell in enumerate(line)
    ]
    found = read(drawn_pdf(lines_at(*cells)), PDF)
    assert blocks(found, "table") == ["Products 96,388 104,429\nServices 20,766 19,516\nTotal 117,154 123,945"]


def test_running_headers_are_no_headings(read: Any) -> None:
    found = read(pdf(*[f"!The Company Report {n}\n{LOREM}\n{LOREM}\n{LOREM}\n{LOREM}" for n in range(4)]), PDF)
    assert "heading" not in {block.kind for block in found.blocks}
    assert "The Company Report 3" in found.text


def test_characters_beyond_the_first_plane_and_ligatures_keep_their_place(client: SandboxClient, read: Any) -> None:
    content = drawn_pdf(lines_at((50, 500, "aXb eYcient word")), "<58> <D835DC00>\n<59> <FB03>")
    assert read(content, PDF).text == "a𝐀b efficient word"
    plain = drawn_pdf(lines_at((50, 500, "aXb eYcient word")))
    assert client.locate(io.BytesIO(content), 1, 14, 18) == client.locate(io.BytesIO(plain), 1, 12, 16)


def test_notes_and_filled_fields_are_part_of_the_page(client: SandboxClient, read: Any) -> None:
    document = FPDF()
    document.add_page()
    document.set_font("Helvetica", size=11)
    document.cell(text="The printed words.")
    document.text_annotation(x=100, y=100, text="A remark in the margin")
    content = bytes(document.output())
    found = read(content, PDF)
    assert blocks(found) == ["The printed words.", "A remark in the margin"]
    (box,) = client.locate(io.BytesIO(content), 1, found.text.index("remark"), len(found.text))
    assert box.left == pytest.approx(100 / 210, abs=0.02)


@pytest.mark.skipif(not FORMATS.exists(), reason="../shared/data/formats is not here")
def test_arabic_is_in_logical_order_with_its_ligatures(client: SandboxClient) -> None:
    text = client.extract(FORMATS / "arabic-page.pdf", PDF).text
    assert text.startswith("تحسين الإنتاجية وحل المشكلات من خلال البرمجة بلغة R وPython\n\n")


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_highlight_lies_over_its_words(client: SandboxClient, rotate: int) -> None:
    content = drawn_pdf(
        "BT /F1 10 Tf 50 500 Td (Some black words and ) Tj 1 0 0 rg (red ones to find) Tj 0 g ( then black.) Tj ET",
        rotate=rotate,
    )
    text = client.extract(io.BytesIO(content), PDF).text
    start = text.index("red ones")
    (box,) = client.locate(io.BytesIO(content), 1, start, start + len("red ones to find"))
    picture = client.render_page(io.BytesIO(content), 1, width=1000, image_format="png")
    drawn = Image.open(io.BytesIO(picture.data)).convert("RGB")
    red = Image.eval(drawn.getchannel("G"), lambda level: 255 if level < 128 else 0)
    red.paste(0, mask=Image.eval(drawn.getchannel("R"), lambda level: 255 if level < 128 else 0))
    left, top, right, bottom = red.getbbox() or (0, 0, 0, 0)
    assert (drawn.width, drawn.height) == (picture.width, picture.height)
    assert box.left * drawn.width <= left + 2
    assert box.right * drawn.width >= right - 2
    assert box.top * drawn.height <= top + 2
    assert box.bottom * drawn.height >= bottom - 2
    assert (box.right - box.left) * (box.bottom - box.top) * drawn.width * drawn.height < 2.5 * (right - left) * (
        bottom - top
    )


def test_a_highlight_over_two_lines_has_two_boxes(client: SandboxClient) -> None:
    content = drawn_pdf(lines_at((50, 500, "The first line goes on and on"), (50, 488, "in the second line.")))
    upper, lower = client.locate(io.BytesIO(content), 1, 10, 40)
    assert upper.bottom <= lower.top + 0.005
    assert client.locate(io.BytesIO(content), 1, 5, 5) == []


@pytest.mark.parametrize(("image_format", "mark"), [("webp", b"RIFF"), ("png", b"\x89PNG")])
def test_a_page_is_drawn_as_wide_as_asked(client: SandboxClient, image_format: str, mark: bytes) -> None:
    picture = client.render_page(io.BytesIO(pdf("Hello")), 1, width=640, image_format=image_format)
    assert picture.data.startswith(mark)
    assert picture.width == 640
    assert picture.content_type == f"image/{image_format}"


def test_a_page_that_is_not_there_is_refused(client: SandboxClient) -> None:
    with pytest.raises(ExtractionRefused, match="no page 2"):
        client.render_page(io.BytesIO(pdf("Hello")), 2)


def test_a_pdf_with_a_password_is_refused_and_one_that_opens_is_read(read: Any) -> None:
    def locked(user_password: str | None) -> bytes:
        document = FPDF()
        document.set_encryption("owner", user_password, encryption_method=EncryptionMethod.RC4)
        document.add_page()
        document.set_font("Helvetica", size=11)
        document.cell(text="Nobody may copy this.")
        return bytes(document.output())

    assert refused(read, locked("secret"), PDF).code == "encrypted"
    assert read(locked(None), PDF).text == "Nobody may copy this."


def test_a_pdf_without_text_is_refused(read: Any) -> None:
    error = refused(read, drawn_pdf("0 0 100 100 re f"), PDF)
    assert error.code == "no_text"
    assert "OCR" in error.detail


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"not a pdf at all", pdf("Hello")[:300]])
def test_a_damaged_pdf_is_refused(read: Any, content: bytes) -> None:
    assert refused(read, content, PDF).code == "broken"


def test_too_many_pages_and_too_much_text_are_refused(read: Any) -> None:
    assert refused(read, pdf("a", "b", "c"), PDF, max_pages=2).code == "too_many_pages"
    assert refused(read, pdf(LOREM), PDF, max_characters=50).code == "too_large"


# Word -------------------------------------------------------------------------------------------------------------


def docx(body: str, namespace: str = WORD, **parts: str) -> bytes:
    """A Word document with this body; ``parts`` are further parts, by their names in ``word/``."""
    roots = {"footnotes": "footnotes", "comments": "comments", "styles": "styles", "header1": "hdr", "footer1": "ftr"}
    kind = "officeDocument/2006/relationships" if namespace == WORD else "ooxml/officeDocument/relationships"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r" Type="http://x/{kind}/officeDocument" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr("word/document.xml", part("document", f"<w:body>{body}</w:body>", namespace))
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", part(roots[name], content, namespace))
    return packed.getvalue()


def part(root: str, content: str, namespace: str = WORD) -> str:
    spaces = (
        f'xmlns:w="{namespace}" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )
    return f"<?xml version='1.0' encoding='UTF-8'?><w:{root} {spaces}>{content}</w:{root}>"


def paragraph(text: str, properties: str = "", more: str = "") -> str:
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r>{more}</w:p>'


def row(*cells: str) -> str:
    return "<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in cells) + "</w:tr>"


@pytest.mark.parametrize("namespace", [WORD, STRICT])
def test_a_word_document_has_headings_lists_and_tables(read: Any, namespace: str) -> None:
    styles = (
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Mine"><w:name w:val="My own"/><w:basedOn w:val="berschrift1"/></w:style>'
    )
    item = "<w:numPr><w:ilvl w:val='0'/></w:numPr>"
    table = f"<w:tbl>{row(paragraph('Food'), paragraph('Calories'))}{row(paragraph('Leaves'), paragraph('50'))}</w:tbl>"
    body = (
        paragraph("Ducks", '<w:pStyle w:val="Mine"/>')
        + paragraph("They swim.")
        + paragraph("well", item)
        + paragraph("often", item)
        + table
    )
    found = read(docx(body, namespace, styles=styles), DOCX)
    assert [(block.kind, block.level) for block in found.blocks] == [
        ("heading", 1),
        ("paragraph", None),
        ("list", None),
        ("table", None),
    ]
    assert blocks(found) == ["Ducks", "They swim.", "- well\n- often", "Food | Calories\nLeaves | 50"]
    assert found.blocks[3].header
    assert found.title == "Ducks"
    assert found.pages == []


def test_nothing_in_a_word_document_is_lost(read: Any) -> None:
    box = "<w:txbxContent>" + paragraph("In a text box.") + "</w:txbxContent>"
    alternatives = (
        f"<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    formula = (
        "<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath>"
    )
    changes = "<w:ins><w:r><w:t> inserted</w:t></w:r></w:ins><w:del><w:r><w:delText> deleted</w:delText></w:r></w:del>"
    body = (
        paragraph("Claimed", more='<w:r><w:footnoteReference w:id="2"/></w:r>')
        + paragraph("Discussed", more='<w:r><w:commentReference w:id="0"/></w:r>')
        + paragraph("Beside", more=alternatives)
        + paragraph("The ratio is", more=formula)
        + paragraph("Text", more=changes)
        + f"<w:sdt><w:sdtContent>{paragraph('In a control.')}</w:sdtContent></w:sdt>"
    )
    found = read(
        docx(
            body,
            footnotes=f'<w:footnote w:id="2">{paragraph("In a footnote.")}</w:footnote>',
            comments=f'<w:comment w:id="0">{paragraph("In a comment.")}</w:comment>',
            header1=paragraph("In the header."),
            footer1=paragraph("12"),
        ),
        DOCX,
    )
    assert blocks(found) == [
        "Claimed",
        "In a footnote.",
        "Discussed",
        "In a comment.",
        "Beside",
        "In a text box.",
        "The ratio is (a)/(b)",
        "Text inserted",
        "In a control.",
        "In the header.",
    ]


def test_merged_and_nested_cells_keep_their_text(read: Any) -> None:
    start, more = '<w:tcPr><w:vMerge w:val="restart"/></w:tcPr>', "<w:tcPr><w:vMerge/></w:tcPr>"
    nested = f"<w:tbl>{row(paragraph('inner'), paragraph('table'))}</w:tbl>"
    wide = '<w:tcPr><w:gridSpan w:val="2"/></w:tcPr>'
    table = (
        row(wide + paragraph("Both"))
        + row(start + paragraph("Year"), paragraph("first"))
        + row(more + paragraph(""), nested + paragraph("second"))
    )
    found = read(docx(f"<w:tbl>{table}</w:tbl>"), DOCX)
    assert found.text == "Both | \nYear | first\nYear | inner table second"


def test_a_zip_bomb_is_refused(read: Any) -> None:
    packed = io.BytesIO(docx(paragraph("small")))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/styles.xml", "w") as large:
        for _ in range(210):
            large.write(b" " * 1_000_000)
    assert refused(read, packed.getvalue(), DOCX).code == "too_large"


def test_a_document_of_endless_elements_ends_within_its_memory(read: Any) -> None:
    content = docx("<w:p/>" * 4_000_000)
    assert refused(read, content, DOCX, memory_bytes=150_000_000).code == "out_of_memory"


@pytest.mark.parametrize(
    "declaration",
    ['<!DOCTYPE x [<!ENTITY a "aaaaaaaa">]>', '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'],
)
def test_a_document_with_entities_is_refused(read: Any, declaration: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx(paragraph("&amp;")))) as good, zipfile.ZipFile(packed, "w") as archive:
        for name in good.namelist():
            content = good.read(name).decode()
            archive.writestr(name, content.replace("?>", "?>" + declaration, 1).replace("&amp;", "&a;"))
    assert refused(read, packed.getvalue(), DOCX).code == "broken"


@pytest.mark.parametrize("content", [b"PK\x03\x04 and no more", docx(paragraph("cut"))[:-40], b"no zip at all"])
def test_a_damaged_word_document_is_refused(read: Any, content: bytes) -> None:
    assert refused(read, content, DOCX).code == "broken"


def test_a_word_document_without_words_is_refused(read: Any) -> None:
    assert refused(read, docx("<w:p/>"), DOCX).code == "no_text"


# HTML -------------------------------------------------------------------------------------------------------------


def test_a_web_page_is_read_without_its_menus_and_scripts(read: Any) -> None:
    page = """<html><head><title>Ducks &amp; geese</title><script>var hidden = 1</script></head><body>
    <nav><a href=/>Home</a></nav><div hidden>not shown</div><p style="display: none">nor this
    <main><h1>All about <em>ducks</em></h1><p>They swim<br>and fly. <b>Ou</b>tside.</p>Loose text.
    <ul><li>one<ul><li>inner</li></ul></li><li><p>two</p></li></ul>
    <table><tr><th>Food<th>Calories</tr><tr><td rowspan=2>Leaves<td>50</tr><tr><td>60</tr></table>
    <pre>def quack():\n    pass</pre></main><footer>Imprint</footer></body></html>"""
    found = read(page, HTML)
    assert found.title == "Ducks & geese"
    assert [(block.kind, found.text[block.start : block.end]) for block in found.blocks] == [
        ("heading", "All about ducks"),
        ("paragraph", "They swim\nand fly. Outside."),
        ("paragraph", "Loose text."),
        ("list", "- one\n  - inner\n- two"),
        ("table", "Food | Calories\nLeaves | 50\nLeaves | 60"),
        ("code", "def quack():\n    pass"),
    ]


@pytest.mark.parametrize(
    ("page", "encoding"),
    [
        ("<meta charset=iso-8859-15><p>Preis: 15 € für Käse", "iso-8859-15"),
        ('<?xml version="1.0" encoding="utf-8"?><html><p>Preis: 15 € für Käse</p></html>', "utf-8"),
        ("<p>Preis: 15 € für Käse", "utf-16"),
        ('<meta http-equiv="content-type" content="text/html; charset=windows-1252"><p>Preis: 15 € für Käse', "cp1252"),
        ("<meta charset=no-such-thing><p>Preis: 15 € für Käse", "utf-8"),
    ],
)
def test_a_web_page_is_read_in_its_own_encoding(read: Any, page: str, encoding: str) -> None:
    assert read(page.encode(encoding), HTML).text == "Preis: 15 € für Käse"


def test_a_page_nested_without_end_does_no_harm(read: Any) -> None:
    for content in ("<div>" * 100_000 + "deep", "<ul><li>" * 50_000 + "deep", "<table><tr><td>" * 20_000 + "deep"):
        assert outcome(read, content) in {"read", "broken", "out_of_memory"}


def outcome(read: Any, content: str) -> str:
    try:
        return "read" if "deep" in read(content, HTML).text else "lost"
    except ExtractionRefused as error:
        return error.code


def test_a_page_without_words_is_refused(read: Any) -> None:
    assert refused(read, "<html><script>1</script></html>", HTML).code == "no_text"


# Text, Markdown, CSV ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [PLAIN_TEXT, MARKDOWN])
@pytest.mark.parametrize("text", ["one\r\ntwo\r\n\r\nthree\r", "\n\n  a\tb \n", "a\u2028b\u0085c\x0cd", "𝐀 and 😀\n"])
def test_the_text_is_the_file_itself(read: Any, text: str, content_type: str) -> None:
    assert read(text, content_type).text == text
    assert read(text.encode("utf-8-sig"), content_type).text == text
    assert read(text.encode("utf-16"), content_type).text == text


def test_nuls_become_a_mark_of_the_same_length(read: Any) -> None:
    assert read(b"a" * 200 + b"\x00b", PLAIN_TEXT).text == "a" * 200 + "\ufffdb"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Die Straße ist schön, und über den Fluss führt eine Brücke für Fußgänger.", "cp1252"),
        ("Привет, как дела? Это простой русский текст для проверки.", "cp1251"),
        ("これは日本語の文章です。エンコーディングを調べます。", "euc_jp"),
        ("これは日本語の文章です。エンコーディングを調べます。", "cp932"),
        ("これは日本語の文章です。エンコーディングを調べます。", "iso2022_jp"),
        ("这是一个简单的中文文档，用来测试编码的识别。", "gb18030"),
        ("한국어 문서입니다. 인코딩을 시험하는 문장입니다.", "euc_kr"),
        ("wide without a mark", "utf-16-le"),
        ("wide without a mark", "utf-16-be"),
        ("with a mark: äöü", "utf-32"),
    ],
)
def test_text_is_read_in_any_encoding(read: Any, text: str, encoding: str) -> None:
    assert read(text.encode(encoding), PLAIN_TEXT).text == text


def test_one_broken_byte_does_not_change_the_encoding(read: Any) -> None:
    text = read("Käse für alle. ".encode() * 50 + b"\xc3", PLAIN_TEXT).text
    assert text.startswith("Käse für alle.")
    assert text.endswith("\ufffd")


@pytest.mark.parametrize("content_type", [PLAIN_TEXT, MARKDOWN, CSV, HTML])
def test_binary_data_is_refused(read: Any, content_type: str) -> None:
    assert refused(read, bytes(range(256)) * 20, content_type).code == "unsupported"


@pytest.mark.parametrize("content_type", [PDF, DOCX, HTML, MARKDOWN, CSV, PLAIN_TEXT])
def test_an_empty_file_is_refused(read: Any, content_type: str) -> None:
    assert refused(read, b"", content_type).code == "empty"


@pytest.mark.parametrize("content_type", [PLAIN_TEXT, MARKDOWN])
def test_blanks_alone_are_empty(read: Any, content_type: str) -> None:
    assert refused(read, b" \n\n\t", content_type).code == "empty"


def test_a_type_that_nobody_reads_is_refused(read: Any) -> None:
    assert refused(read, b"x", "application/x-mystery").code == "unsupported"


def test_plain_text_is_cut_at_empty_lines(read: Any) -> None:
    assert blocks(read("one\r\ntwo\r\n \r\n  three\n\n\nfour", PLAIN_TEXT)) == ["one\r\ntwo", "three", "four"]


def test_markdown_has_the_blocks_of_its_top_level(read: Any) -> None:
    text = (
        "---\ntitle: All about ducks\n---\n# Ducks\n\nThey *swim*\nand fly.\n\nFood\n----\n\n"
        "- leaves\n  - green\n- bread\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\n# no heading\n```\n\n> quoted\n\n<div>html</div>\n"
    )
    found = read(text, MARKDOWN)
    assert found.text == text
    assert found.title == "All about ducks"
    assert [(block.kind, block.level, found.text[block.start : block.end]) for block in found.blocks] == [
        ("paragraph", None, "---\ntitle: All about ducks\n---"),
        ("heading", 1, "# Ducks"),
        ("paragraph", None, "They *swim*\nand fly."),
        ("heading", 2, "Food\n----"),
        ("list", None, "- leaves\n  - green\n- bread"),
        ("table", None, "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("code", None, "```python\n# no heading\n```"),
        ("paragraph", None, "> quoted"),
        ("paragraph", None, "<div>html</div>"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_is_one_table_whatever_parts_its_cells(read: Any, delimiter: str) -> None:
    rows = [["name", "city", "size"], ["Anna", "Köln", "1"], ["Ben", '"Bonn, am Rhein; links|\t"', "2"]]
    found = read("\r\n".join(delimiter.join(row) for row in rows), CSV)
    assert found.text == "name | city | size\nAnna | Köln | 1\nBen | Bonn, am Rhein; links| | 2"
    assert [(block.kind, block.header) for block in found.blocks] == [("table", True)]


def test_a_csv_of_numbers_has_no_header(read: Any) -> None:
    assert not read("1,2\n3,4", CSV).blocks[0].header


def test_lines_inside_a_cell_stay_in_it(read: Any) -> None:
    assert read('a,b\n"one\ntwo",3\n', CSV).text == "a | b\none two | 3"


def test_too_much_text_is_refused(read: Any) -> None:
    for content_type in (PLAIN_TEXT, MARKDOWN, CSV, HTML):
        assert refused(read, "word " * 100, content_type, max_characters=100).code == "too_large"
