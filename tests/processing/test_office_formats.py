"""Reading Office, OpenDocument, RTF, EPUB, e-mail and JSON through the real sandbox, from files made here."""

import io
import json
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from processing.extractors import xls
from ragsite.extraction import EML, EPUB, JSON, JSON_LINES, ODP, ODS, ODT, PPTX, RTF, XLSX, Extraction, Limits
from ragsite.sandbox import ExtractionRefused, SandboxClient

RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships"


@pytest.fixture
def read(sandbox_service: Path) -> Any:
    def read(content: bytes | str, content_type: str, **limits: Any) -> Extraction:
        data = content.encode() if isinstance(content, str) else content
        return SandboxClient(sandbox_service).extract(io.BytesIO(data), content_type, Limits(**limits))

    return read


def shown(found: Extraction) -> list[tuple[str, str]]:
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


def pages(found: Extraction) -> list[tuple[int, str | None, str]]:
    return [(page.number, page.label, found.text[page.start : page.end]) for page in found.pages]


def zipped(parts: dict[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return packed.getvalue()


def relations(targets: dict[str, tuple[str, str]], base: str = RELATION) -> str:
    """A part of relations: id → (kind, target)."""
    entries = (
        f'<Relationship Id="{key}" Type="{base}/{kind}" Target="{target}"/>' for key, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{"".join(entries)}</Relationships>'


def refused(read: Any, content: bytes | str, content_type: str, **limits: Any) -> ExtractionRefused:
    with pytest.raises(ExtractionRefused) as caught:
        read(content, content_type, **limits)
    return caught.value


# PowerPoint -------------------------------------------------------------------------------------------------------


def paragraphs(*texts: str) -> str:
    return "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)


def shape(*texts: str, place: str = "") -> str:
    holder = f'<p:ph type="{place}"/>' if place else ""
    body = f"<p:txBody>{paragraphs(*texts)}</p:txBody>"
    return f'<p:sp><p:nvSpPr><p:cNvPr id="1" name="x"/><p:nvPr>{holder}</p:nvPr></p:nvSpPr>{body}</p:sp>'


def slide(content: str, attributes: str = "") -> str:
    spaces = f'xmlns:p="p" xmlns:a="a" xmlns:r="{RELATION}" xmlns:c="c" xmlns:mc="mc"'
    return f"<p:sld {spaces} {attributes}><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>"


def pptx(slides: list[str], base: str = RELATION, **parts: str) -> bytes:
    """A presentation of these slides; ``parts`` are further parts of the first, by their kind."""
    numbers = range(1, len(slides) + 1)
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in numbers)
    packed: dict[str, str | bytes] = {
        "_rels/.rels": relations({"m": ("officeDocument", "ppt/presentation.xml")}, base),
        "ppt/presentation.xml": f'<p:main xmlns:p="p" xmlns:r="{base}"><p:sldIdLst>{listed}</p:sldIdLst></p:main>',
        "ppt/_rels/presentation.xml.rels": relations(
            {f"r{n}": ("slide", f"slides/slide{n}.xml") for n in numbers}, base
        ),
        "ppt/slides/_rels/slide1.xml.rels": relations({kind: (kind, f"../more/{kind}.xml") for kind in parts}, base),
    }
    packed |= {f"ppt/slides/slide{n}.xml": content for n, content in zip(numbers, slides, strict=True)}
    return zipped(packed | {f"ppt/more/{kind}.xml": content for kind, content in parts.items()})


@pytest.mark.parametrize("base", [RELATION, STRICT])
def test_slides_are_pages_with_their_titles_as_headings(read: Any, base: str) -> None:
    first = slide(shape("They swim.") + shape("Ducks", place="ctrTitle") + shape("7", place="sldNum"))
    second = slide(shape("Food", place="title") + shape("leaves", "bread", place="body"), 'show="0"')
    found = read(pptx([first, second], base), PPTX)
    assert found.page_kind == "slide"
    assert pages(found) == [(1, None, "Ducks\n\nThey swim."), (2, "2 (hidden)", "Food\n\n- leaves\n- bread")]
    assert [(block.kind, block.page) for block in found.blocks] == [
        ("heading", 1), ("paragraph", 1), ("heading", 2), ("list", 2),
    ]  # fmt: skip
    assert found.title == "Ducks"


def test_nothing_on_a_slide_is_lost(read: Any) -> None:
    group = f"<p:grpSp>{shape('In a group.')}</p:grpSp>"
    chosen = shape("Chosen.")
    choice = (
        f"<mc:AlternateContent><mc:Choice>{chosen}</mc:Choice><mc:Fallback>{chosen}</mc:Fallback></mc:AlternateContent>"
    )
    cells = [("Year", "Ducks"), ("2020", "5")]
    rows = "".join(
        f"<a:tr>{''.join(f'<a:tc><a:txBody>{paragraphs(cell)}</a:txBody></a:tc>' for cell in row)}</a:tr>"
        for row in cells
    )
    table = f"<p:graphicFrame><a:graphic><a:tbl>{rows}</a:tbl></a:graphic></p:graphicFrame>"
    chart = '<p:graphicFrame><a:graphic><c:chart r:id="chart"/></a:graphic></p:graphicFrame>'
    diagram = '<p:graphicFrame><a:graphic><d:relIds xmlns:d="d" r:dm="diagramData"/></a:graphic></p:graphicFrame>'
    picture = '<p:pic><p:nvPicPr><p:cNvPr id="1" name="x" descr="A duckling on grass"/></p:nvPicPr></p:pic>'
    points = '<c:pt idx="0"><c:v>{}</c:v></c:pt><c:pt idx="1"><c:v>{}</c:v></c:pt>'
    series = (
        "<c:ser><c:tx><c:strRef><c:strCache><c:pt idx='0'><c:v>Flock</c:v></c:pt></c:strCache></c:strRef></c:tx>"
        f"<c:cat>{points.format('May', 'June')}</c:cat><c:val>{points.format(11, 12)}</c:val></c:ser>"
    )
    title = f"<c:title>{paragraphs('Ducks by month')}</c:title>"
    found = read(
        pptx(
            [slide(group + choice + table + chart + diagram + picture)],
            chart=f'<c:x xmlns:c="c" xmlns:a="a"><c:chart>{title}<c:plotArea>{series}</c:plotArea></c:chart></c:x>',
            diagramData=f'<d:x xmlns:d="d" xmlns:a="a"><d:pt><d:t>{paragraphs("Egg")}</d:t></d:pt></d:x>',
            notesSlide=slide(shape("Say it slowly.", place="body")),
            comments='<p:cmLst xmlns:p="p"><p:cm><p:text>Is this so?</p:text></p:cm></p:cmLst>',
        ),
        PPTX,
    )
    assert shown(found) == [
        ("paragraph", "In a group."),
        ("paragraph", "Chosen."),
        ("table", "Year | Ducks\n2020 | 5"),
        ("paragraph", "Ducks by month"),
        ("table", " | Flock\nMay | 11\nJune | 12"),
        ("list", "- Egg"),
        ("paragraph", "A duckling on grass"),
        ("paragraph", "Notes:\nSay it slowly."),
        ("paragraph", "Comments:\nIs this so?"),
    ]


# Excel ------------------------------------------------------------------------------------------------------------


def xlsx(sheets: dict[str, str], base: str = RELATION, state: str = "", **parts: str) -> bytes:
    """A workbook of these sheets; ``parts`` are further parts of the workbook, by their kind."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="{name}" r:id="r{n}" {state}/>' for n, name in zip(numbers, sheets, strict=True))
    linked = {f"r{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in numbers}
    packed: dict[str, str | bytes] = {
        "_rels/.rels": relations({"m": ("officeDocument", "xl/workbook.xml")}, base),
        "xl/workbook.xml": f'<workbook xmlns="x" xmlns:r="{base}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(linked | {kind: (kind, f"{kind}.xml") for kind in parts}, base),
    }
    packed |= {f"xl/worksheets/sheet{n}.xml": content for n, content in zip(numbers, sheets.values(), strict=True)}
    return zipped(packed | {f"xl/{kind}.xml": content for kind, content in parts.items()})


def sheet(*rows: str, more: str = "") -> str:
    return f'<worksheet xmlns="x"><sheetData>{"".join(rows)}</sheetData>{more}</worksheet>'


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def inline(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


@pytest.mark.parametrize("base", [RELATION, STRICT])
def test_sheets_are_pages_with_their_names_as_headings(read: Any, base: str) -> None:
    strings = (
        '<sst xmlns="x"><si><t>City</t></si><si><r><t>Kö</t></r><r><t>ln</t></r><rPh><t>ignored</t></rPh></si></sst>'
    )
    budget = sheet(
        row(1, '<c r="A1" t="s"><v>0</v></c>', inline("B1", "Cost")),
        row(2, '<c r="A2" t="s"><v>1</v></c>', '<c r="B2"><v>0.30000000000000004</v></c>'),
    )
    found = read(xlsx({"Budget": budget, "Empty": sheet()}, base, 'state="hidden"', sharedStrings=strings), XLSX)
    assert found.page_kind == "sheet"
    assert pages(found) == [
        (1, "Budget (hidden)", "Budget (hidden)\n\nCity | Cost\nKöln | 0.3"),
        (2, "Empty (hidden)", "Empty (hidden)"),
    ]
    assert found.blocks[1].header


@pytest.mark.parametrize(
    ("number", "code", "expected"),
    [
        ("45292", 14, "2024-01-01"),
        ("45292.5", 22, "2024-01-01 12:00"),
        ("0.75", 20, "18:00"),
        ("1.25", 46, "30:00:00"),
        ("0.125", 10, "12.50%"),
        ("1234.5", 4, "1234.5"),
        ("45292", 'dd. mmmm yyyy "Uhr"', "2024-01-01"),
        ("12", '0 "days"', "12"),
        ("3", "[Red]0.00", "3"),
        ("1E+20", 0, "100000000000000000000"),
        ("-3", 14, "-3"),
        ("1e999", 14, "inf"),
    ],
)
def test_numbers_are_shown_as_the_sheet_shows_them(read: Any, number: str, code: int | str, expected: str) -> None:
    own = f"<numFmts><numFmt numFmtId='164' formatCode='{code}'/></numFmts>" if isinstance(code, str) else ""
    used = 164 if own else code
    styles = f'<styleSheet xmlns="x">{own}<cellXfs><xf numFmtId="0"/><xf numFmtId="{used}"/></cellXfs></styleSheet>'
    content = sheet(row(1, f'<c r="A1" s="1"><v>{number}</v></c>'))
    assert read(xlsx({"S": content}, styles=styles), XLSX).text == f"S\n\n{expected}"


def test_cells_of_every_kind_and_merged_ones_are_read(read: Any) -> None:
    content = sheet(
        row(1, inline("A1", "A title")),
        row(3, inline("B3", "Year"), inline("D3", "Sold")),
        row(4, '<c r="B4"><v>2020</v></c>', '<c r="D4" t="b"><v>1</v></c>'),
        row(5, '<c r="D5" t="e"><v>#DIV/0!</v></c>'),
        row(900000, '<c r="B900000" t="str"><v>far away</v></c>', '<c r="XFD900000"><f>SUM(A1:A2)</f></c>'),
        more='<mergeCells><mergeCell ref="B4:B5"/><mergeCell ref="nonsense"/></mergeCells>',
    )
    assert shown(read(xlsx({"S": content}), XLSX)) == [
        ("heading", "S"),
        ("paragraph", "A title"),
        ("table", "Year | Sold\n2020 | TRUE\n2020 | #DIV/0!"),
        ("table", "far away | =SUM(A1:A2)"),
    ]


def test_comments_and_text_boxes_of_a_sheet_are_read(read: Any) -> None:
    anchored = f'<d:wsDr xmlns:d="d" xmlns:a="a"><d:sp><d:txBody>{paragraphs("In a box.")}</d:txBody></d:sp></d:wsDr>'
    packed = io.BytesIO(xlsx({"S": sheet(row(1, inline("A1", "x")))}))
    with zipfile.ZipFile(packed, "a") as archive:
        linked = {"c": ("comments", "../comments1.xml"), "d": ("drawing", "../drawing1.xml")}
        archive.writestr("xl/worksheets/_rels/sheet1.xml.rels", relations(linked))
        archive.writestr("xl/drawing1.xml", anchored)
        remark = '<comment ref="A1"><text><r><t>Really?</t></r></text></comment>'
        archive.writestr("xl/comments1.xml", f'<comments xmlns="x"><commentList>{remark}</commentList></comments>')
    assert [text for _, text in shown(read(packed.getvalue(), XLSX))] == [
        "S",
        "x",
        "Comments:\nA1: Really?",
        "In a box.",
    ]


def test_a_sheet_that_is_missing_is_told(read: Any) -> None:
    whole = xlsx({"Here": sheet(row(1, inline("A1", "x"))), "Gone": sheet()})
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            if "sheet2" not in name:
                new.writestr(name, old.read(name))
    (warning,) = read(packed.getvalue(), XLSX).warnings
    assert "Gone" in warning


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_in_a_sheet_are_refused_as_a_bomb(read: Any, encoding: str) -> None:
    content = (
        f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE x [<!ENTITY a 'aaaa'>]><sst><si><t>&a;</t></si></sst>"
    )
    packed = io.BytesIO(xlsx({"S": sheet()}, sharedStrings="<sst/>"))
    parts: dict[str, str | bytes] = {
        name: zipfile.ZipFile(packed).read(name) for name in zipfile.ZipFile(packed).namelist()
    }
    error = refused(read, zipped(parts | {"xl/sharedStrings.xml": content.encode(encoding)}), XLSX)
    assert error.code == "broken"
    assert "bomb" in error.detail


def test_a_sheet_of_endless_cells_ends_at_the_limit(read: Any) -> None:
    cells = row(1, *[f"<c><v>{'1' * 50}</v></c>"] * 10_000)
    assert refused(read, xlsx({"S": sheet(cells)}), XLSX, max_characters=10_000).code == "too_large"


def test_a_reader_that_panics_on_an_old_workbook_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What a library in Rust raises."""

    def panic(file: Any) -> None:
        raise PanicException

    monkeypatch.setattr("python_calamine.load_workbook", panic)
    with pytest.raises(ExtractionRefused) as caught:
        xls.extract(b"x", Limits(), lambda fraction, pages: None)
    assert caught.value.code == "broken"


# OpenDocument -----------------------------------------------------------------------------------------------------


def odf(kind: str, body: str, styles: str = "", parts: dict[str, str] | None = None) -> bytes:
    names = ("office", "text", "table", "draw", "presentation", "style", "xlink")
    spaces = " ".join(f'xmlns:{name}="{name}"' for name in names)
    content = (
        f"<office:document-content {spaces}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    return zipped({"mimetype": "x", "content.xml": content} | (parts or {}))


def test_an_open_document_text_loses_nothing(read: Any) -> None:
    cell = "<table:table-cell {}><text:p>{}</text:p></table:table-cell>"
    spanned = 'table:number-rows-spanned="2"'
    table = (
        "<table:table><table:table-header-rows><table:table-row>"
        f"{cell.format('', 'Food')}{cell.format('', 'Place')}</table:table-row></table:table-header-rows>"
        f"<table:table-row>{cell.format(spanned, 'Leaves')}{cell.format('', 'lake')}</table:table-row>"
        f"<table:table-row><table:covered-table-cell/>{cell.format('', 'pond')}</table:table-row></table:table>"
    )
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Ducks</text:h>'
        "<text:p>They<text:s/>swim<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>In a "
        "footnote.</text:p></text:note-body></text:note>.<text:line-break/>Often.</text:p>"
        "<text:p>Beside<draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame></text:p>"
        "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>inner</text:p>"
        "</text:list-item></text:list></text:list-item></text:list>" + table
    )
    header = '<s xmlns:style="style" xmlns:text="text"><style:header><text:p>In the header.</text:p></style:header></s>'
    found = read(odf("text", body, parts={"styles.xml": header}), ODT)
    assert shown(found) == [
        ("heading", "Ducks"),
        ("paragraph", "They swim .\nOften."),
        ("paragraph", "In a footnote."),
        ("paragraph", "Beside"),
        ("paragraph", "In a box."),
        ("list", "- one\n  - inner"),
        ("table", "Food | Place\nLeaves | lake\nLeaves | pond"),
        ("paragraph", "In the header."),
    ]


def test_sheets_and_slides_of_open_document_are_pages(read: Any) -> None:
    hidden = '<style:style style:name="h"><style:table-properties table:display="false"/></style:style>'
    cell = "<table:table-cell {}><text:p>{}</text:p></table:table-cell>"
    rows = (
        f"<table:table-row>{cell.format('', 'City')}{cell.format('', 'Cost')}</table:table-row>"
        f"<table:table-row>{cell.format('', 'Köln')}{cell.format('', '3,50 €')}"
        '<table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    )
    remark = "<office:annotation><text:p>Really?</text:p></office:annotation>"
    noted = f"<table:table-row><table:table-cell>{remark}<text:p>late</text:p></table:table-cell></table:table-row>"
    body = f'<table:table table:name="Budget" table:style-name="h">{rows}{noted}</table:table>'
    found = read(odf("spreadsheet", body, hidden), ODS)
    assert (found.page_kind, [page.label for page in found.pages]) == ("sheet", ["Budget (hidden)"])
    assert [text for _, text in shown(found)] == ["Budget (hidden)", "City | Cost\nKöln | 3,50 €", "late", "Really?"]

    frame = "<draw:frame {}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    notes = f"<presentation:notes>{frame.format('', 'Say it slowly.')}</presentation:notes>"
    title = frame.format('presentation:class="title"', "Ducks")
    body = f"<draw:page>{frame.format('', 'They swim.')}{title}{notes}</draw:page><draw:page/>"
    found = read(odf("presentation", body), ODP)
    assert (found.page_kind, found.page_count) == ("slide", 2)
    assert [text for _, text in shown(found)] == ["Ducks", "They swim.", "Notes:\nSay it slowly."]


def test_a_chart_in_an_open_document_is_read(read: Any) -> None:
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    rows = "".join(
        f"<table:table-row>{cell.format(a)}{cell.format(b)}</table:table-row>" for a, b in (("x", "y"), ("1", "2"))
    )
    title = "<chart:title><text:p>Ducks by month</text:p></chart:title>"
    chart = (
        '<office:document-content xmlns:office="o" xmlns:chart="c" xmlns:text="t" xmlns:table="tb"><office:body>'
        f"<office:chart><chart:chart>{title}<table:table>{rows}</table:table></chart:chart></office:chart></office:body>"
        "</office:document-content>"
    )
    body = '<text:p>See:<draw:frame><draw:object xlink:href="./Object 1"/></draw:frame></text:p>'
    found = read(odf("text", body, parts={"Object 1/content.xml": chart}), ODT)
    assert [text for _, text in shown(found)] == ["See:", "Ducks by month", "x | y\n1 | 2"]


def test_an_open_document_with_a_password_is_refused(read: Any) -> None:
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    content = odf("text", "", parts={"META-INF/manifest.xml": manifest})
    assert refused(read, content, ODT).code == "encrypted"


# RTF --------------------------------------------------------------------------------------------------------------


def rtf(body: str) -> str:
    fonts = r"{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fcharset128 Gothic;}}"
    styles = r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 Chapter;}{\s2 heading 2;}}"
    return rf"{{\rtf1\ansi\ansicpg1252\uc1{fonts}{styles}{{\info{{\title About ducks}}{{\author Nobody}}}}{body}}}"


def test_an_rtf_loses_nothing(read: Any) -> None:
    body = (
        r"{\header\pard In the header.\par}"
        r"\pard\s1 Ducks\par\pard\s2 Food\par"
        r"\pard They eat\line leaves{\footnote\pard In a footnote.\par} and {\v hidden}{\deleted gone}bread.\par"
        r"\pard{\listtext\bullet\tab}one\par\pard{\pntext -}two\par"
        r"\pard\intbl Year\cell Ducks\cell\row\intbl 2020\cell 5\par 6\cell\row"
        r"\pard{\field{\*\fldinst HYPERLINK x}{\fldrslt a link}} {\pict 89504e47}{\*\unheard of}"
        r"{\shp{\*\shpinst{\sp{\sn a}{\sv 1}}{\shptxt\pard In a box.\par}}{\shprslt In a box.}}\par"
        r"\pard No end"
    )
    found = read(rtf(body), RTF)
    assert found.title == "About ducks"
    assert [(block.kind, block.level, found.text[block.start : block.end]) for block in found.blocks] == [
        ("heading", 1, "Ducks"),
        ("heading", 2, "Food"),
        ("paragraph", None, "They eat\nleaves and bread."),
        ("paragraph", None, "In a footnote."),
        ("list", None, "- one\n- two"),
        ("table", None, "Year | Ducks\n2020 | 5 6"),
        ("paragraph", None, "a link"),
        ("paragraph", None, "In a box."),
        ("paragraph", None, "No end"),
        ("paragraph", None, "In the header."),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"Gr\'fc\'dfe", "Grüße"),
        (r"\f1\'cf\'f0\'e8\'e2\'e5\'f2", "Привет"),
        (r"\f2\'93\'fa\'96\'7b", "日本"),
        (r"\f2\'93\'fa\'96\{", "日本"),
        (r"\u26085?\u26412?", "日本"),
        (r"\uc2\u252\'81\'82ber", "über"),
        (r"\u-10179?\u-8704?", "😀"),
        (r"a\~b\_c\-d \{\}\emdash", "a b-cd {}—"),
        (r"\bin5 \}}{{x", "x"),
    ],
)
def test_rtf_writes_characters_in_many_ways(read: Any, body: str, expected: str) -> None:
    assert read(rtf(body), RTF).text == expected


@pytest.mark.parametrize(
    "body", ["{" * 50_000 + "deep", "}" * 1000 + "deep", r"\bin99999999999 deep", r"{\footnote" * 9000 + " deep"]
)
def test_a_mad_rtf_does_no_harm(read: Any, body: str) -> None:
    try:
        read(rtf(body), RTF)
    except ExtractionRefused as refusal:
        assert refusal.code in {"no_text", "broken"}  # noqa: PT017 (either will do)


# EPUB -------------------------------------------------------------------------------------------------------------


def epub(chapters: dict[str, str], **parts: str) -> bytes:
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns:dc="dc"><metadata><dc:title>About ducks</dc:title><dc:creator>Anna</dc:creator></metadata>'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    content: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": package,
    }
    content |= {f"OPS/{name}": page for name, page in chapters.items() if page}
    return zipped(content | {f"META-INF/{name}.xml": text for name, text in parts.items()})


def test_chapters_of_a_book_are_parts(read: Any) -> None:
    page = '<?xml version="1.0"?><!DOCTYPE html><html><head><title>t</title></head><h1>{}</h1><p>{}&nbsp;x</p></html>'
    found = read(
        epub({"a.xhtml": page.format("One", "Ducks"), "b.xhtml": page.format("Two", "Geese"), "gone.xhtml": ""}), EPUB
    )
    assert (found.title, found.metadata["author"], found.page_kind) == ("About ducks", "Anna", "part")
    assert pages(found) == [(1, "One", "One\n\nDucks x"), (2, "Two", "Two\n\nGeese x")]
    assert found.warnings == ["The chapter gone.xhtml is missing in the file."]


def test_a_book_with_copy_protection_is_refused(read: Any) -> None:
    protection = '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></encryption>'
    assert refused(read, epub({"a.xhtml": "<p>x"}, encryption=protection), EPUB).code == "encrypted"
    disguised = protection.replace("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "http://www.idpf.org/2008/embedding")
    assert read(epub({"a.xhtml": "<p>x"}, encryption=disguised), EPUB).text == "x"


# E-mail -----------------------------------------------------------------------------------------------------------


def message(text: str = "Hello Ben.") -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Grüße vom See", "Änne <a@example.com>", "ben@example.com"
    made["Date"] = "Mon, 01 Jan 2024 10:00:00 +0000"
    made.set_content(text)
    return made


def test_a_message_tells_who_wrote_what_to_whom(read: Any) -> None:
    found = read(bytes(message("Hello Ben.\n\n> quoted\n> again\n")), EML)
    assert (found.title, found.metadata["author"]) == ("Grüße vom See", "Änne <a@example.com>")
    assert [text for _, text in shown(found)] == [
        "Grüße vom See",
        "From: Änne <a@example.com>\nTo: ben@example.com\nDate: Mon, 01 Jan 2024 10:00:00 +0000",
        "Hello Ben.",
        "> quoted\n> again",
    ]


def test_attachments_are_parts_and_none_is_dropped_in_silence(read: Any) -> None:
    inner = message("The inner text.")
    inner.replace_header("Subject", "Inner")
    inner.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="inner.csv")
    outer = message("See below.")
    outer.add_alternative("<p>See <b>below</b>.</p>", subtype="html")
    outer.add_attachment(
        xlsx({"Budget": sheet(row(1, inline("A1", "x")))}), maintype="a", subtype="b", filename="böse.bin"
    )
    outer.add_attachment(inner)
    outer.add_attachment(b"\x00\x01\x02" * 50, maintype="application", subtype="zip", filename="noise.zip")
    outer.add_attachment(
        b"GIF89a", maintype="image", subtype="gif", cid="<logo>", disposition="inline", filename="logo.gif"
    )
    found = read(bytes(outer), EML)
    assert [page.label for page in found.pages] == [None, "böse.bin", "Inner", "noise.zip"]
    texts = [text for _, text in shown(found)]
    assert texts.count("See below.") == 1
    headings = [block for block in found.blocks if block.kind == "heading"]
    assert [(block.level, found.text[block.start : block.end]) for block in headings] == [
        (1, "Grüße vom See"),
        (1, "böse.bin"),
        (2, "Budget"),
        (1, "Inner"),
        (2, "Inner"),
        (2, "inner.csv"),
        (1, "noise.zip"),
    ]
    assert {"x", "The inner text.", "a | b\n1 | 2"} <= set(texts)
    assert texts[-1].startswith("[noise.zip was not read. This file holds no text")
    assert [warning.split(".")[0] for warning in found.warnings] == ["The attachment noise"]


def test_messages_within_messages_end_somewhere(read: Any) -> None:
    made = message("innermost")
    for _ in range(8):
        outer = message("outer")
        outer.add_attachment(made)
        made = outer
    found = read(bytes(made), EML)
    assert "nested too deeply" in found.text
    assert "innermost" not in found.text


@pytest.mark.parametrize("kind", ["multipart/encrypted; protocol=x; boundary=b", "application/pkcs7-mime"])
def test_an_encrypted_message_is_refused(read: Any, kind: str) -> None:
    content = f"From: a@example.com\nSubject: secret\nContent-Type: {kind}\n\n--b\n\nx\n--b--\n"
    assert refused(read, content, EML).code == "encrypted"


@pytest.mark.parametrize(
    "content",
    [
        "Subject: =?x?Q?=ff?=\nFrom: <<<\nDate: never\nContent-Type: text/plain; charset=nope\n\ntext",
        "Subject: a\nContent-Type: multipart/mixed\n\ntext",
        "Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\ntext",
        "Subject: a\nContent-Transfer-Encoding: base64\n\ndGV4dA=",
    ],
)
def test_a_message_against_the_rules_is_read_as_far_as_it_goes(read: Any, content: str) -> None:
    assert "text" in read(content, EML).text


# JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_lines_with_their_keys_and_tables_of_alike_records(read: Any) -> None:
    content = {
        "name": "Anna",
        "nothing": None,
        "happy": True,
        "address": {"city": "Köln", "zip": [5, 6]},
        "pets": [{"kind": "dog", "age": 3}, {"kind": "cat"}],
        "letter": "One line.\n" + "Many words. " * 60,
        "grid": [[1, 2], [3]],
    }
    found = read(json.dumps(content), JSON)
    assert found.title == "Anna"
    blocks = shown(found)
    assert blocks[:3] == [
        ("list", "name: Anna\nhappy: true\naddress.city: Köln\naddress.zip: 5, 6"),
        ("heading", "pets"),
        ("table", "kind | age\ndog | 3\ncat | "),
    ]
    assert blocks[3][1].startswith("letter: One line.\nMany words.")
    assert blocks[4] == ("list", "grid[1]: 1, 2\ngrid[2]: 3")


def test_json_lines_are_a_record_each_and_broken_ones_stay(read: Any) -> None:
    records = [json.dumps({"id": n, "tags": [{"a": n}]}) for n in range(12)]
    found = read("\n".join([*records, '{"id": 12, "cut'])[:-1], JSON_LINES)
    assert blocks_of(found)[0] == "id: 0\ntags[1].a: 0"
    assert '{"id": 12' in found.text


def blocks_of(found: Extraction) -> list[str]:
    return [text for _, text in shown(found)]


@pytest.mark.parametrize("kind", [JSON, JSON_LINES])
def test_what_is_no_json_is_read_as_the_text_that_it_is(read: Any, kind: str) -> None:
    assert read('{"a": 1,\n broken', kind).text == '{"a": 1,\n broken'


def test_json_nested_without_end_is_refused(read: Any) -> None:
    assert refused(read, "[" * 200_000, JSON).code in {"broken", "no_text"}
