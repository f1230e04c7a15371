"""OpenDocument texts, spreadsheets and presentations, read straight from their XML.

Footnotes, comments, text boxes, speaker's notes, hidden sheets, headers and footers are part of the text; deleted text
of tracked changes is not. A slide or a sheet is a page.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

from lxml import etree

from processing.extractors.archive import DAMAGED, ENCRYPTED, Archive, open_archive
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.office_xml import child, children, local, number, value
from processing.extractors.sheets import Rows, add_rows
from ragsite.extraction import Extraction, ExtractionRefused, Limits, PageKind

_SKIPPED: Final = frozenset(
    {"tracked-changes", "forms", "sequence-decls", "note-citation", "ruby-text", "settings", "user-field-decls", "desc"}
)
_ASIDE: Final = ("note", "annotation", "text-box", "table", "object")
"""What stands within a paragraph and is read after it."""
_REMARK_HEAD: Final = ("creator", "date", "date-string")
_KINDS: Final[dict[str, PageKind]] = {"spreadsheet": "sheet", "presentation": "slide"}
_MAX_REPEATED: Final = 100
_MAX_COLUMNS: Final = 16_384


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The document's text in reading order; headers and footers at its end."""
    with open_archive(data) as archive:
        _refuse_encrypted(archive)
        root = archive.xml("content.xml")
        body = next(iter(_content(root)), None)
        if root is None or body is None:
            raise ExtractionRefused("broken", DAMAGED)
        reader = _Reader(archive, TextBuilder(limits), _hidden_styles(root))
        reader.read_body(body)
        styles = archive.xml("styles.xml")
        if local(body) == "text":
            for extra in _headers_and_footers(styles):
                reader.read(extra)
        return reader.builder.finish(*_properties(archive), page_kind=_KINDS.get(local(body), "page"))


def _refuse_encrypted(archive: Archive) -> None:
    manifest = archive.read("META-INF/manifest.xml") or b""
    if b"encryption-data" in manifest:
        raise ExtractionRefused("encrypted", ENCRYPTED)


def _content(root: etree._Element | None) -> list[etree._Element]:
    """What the body of a part holds: one element that says what kind of document it is."""
    body = child(root, "body")
    return list(body) if body is not None else []


def _hidden_styles(root: etree._Element | None) -> frozenset[str]:
    """The styles of tables and slides that are not shown."""
    found = set()
    for style in children(child(root, "automatic-styles"), "style"):
        shown = [value(part, "display") or value(part, "visibility") for part in style]
        if "false" in shown or "hidden" in shown:
            found.add(value(style, "name") or "")
    return frozenset(found)


def _headers_and_footers(styles: etree._Element | None) -> Iterator[etree._Element]:
    seen = set()
    for element in styles.iter("{*}header", "{*}footer") if styles is not None else ():
        text = clean(" ".join(map(str, element.itertext())))
        if any(map(str.isalpha, text)) and text not in seen:
            seen.add(text)
            yield element


def _properties(archive: Archive) -> tuple[str | None, dict[str, str]]:
    root = archive.xml("meta.xml")
    texts = {local(entry): clean(entry.text or "")[:300] for entry in root.iter()} if root is not None else {}
    named = {"title": "title", "author": "creator", "subject": "subject"}
    metadata = {key: texts[name] for key, name in named.items() if texts.get(name)}
    return metadata.get("title"), metadata


@dataclass
class _Reader:
    """Walks through elements and writes blocks; what a paragraph carries with it follows it."""

    archive: Archive
    builder: TextBuilder
    hidden: frozenset[str]
    _aside: list[etree._Element] = field(default_factory=list)

    def read_body(self, body: etree._Element) -> None:
        kind = local(body)
        if kind == "spreadsheet":
            for table in children(body, "table"):
                self._sheet(table)
        elif kind == "presentation":
            for page in children(body, "page"):
                self._slide(page)
        else:
            self.read(body)

    def read(self, container: Iterable[etree._Element]) -> None:
        """Take in all blocks of a body, a note, a text box or a slide."""
        for element in container:
            name = local(element)
            if name == "h":
                level = min(max(number(element, "outline-level", 1), 1), 6)
                self._paragraph(element, level)
            elif name == "p":
                self._paragraph(element)
            elif name == "list":
                self.builder.add("list", "\n".join(self._items(element, "")))
                self._read_aside()
            elif name == "table":
                self.builder.add_table(self._table_rows(element))
                self._read_aside()
            elif name == "notes":
                self._notes(element)
            elif name == "object":
                self._object(element)
            elif name not in _SKIPPED and name:
                self.read(element)

    def _sheet(self, table: etree._Element) -> None:
        hidden = " (hidden)" if value(table, "style-name") in self.hidden else ""
        label = clean(value(table, "name") or "")[:200] + hidden
        self.builder.begin_page(label)
        self.builder.add("heading", label, 1)
        add_rows(self.builder, self._cells(table), [])
        self._read_aside()
        for shapes in children(table, "shapes"):
            self.read(shapes)

    def _slide(self, page: etree._Element) -> None:
        hidden = value(page, "style-name") in self.hidden
        self.builder.begin_page("hidden" if hidden else None)
        titles = [frame for frame in children(page, "frame") if value(frame, "class") == "title"]
        title = clean(" ".join(self._text(part) for frame in titles for part in frame.iter("{*}p")))
        self.builder.add("heading", title, 1)
        for element in page:
            if element not in titles:
                self.read([element])

    def _notes(self, element: etree._Element) -> None:
        texts = [clean(self._text(part)) for part in element.iter("{*}p")]
        self.builder.add("paragraph", "\n".join(["Notes:", *filter(None, texts)]) if any(texts) else "")
        self._aside.clear()

    def _object(self, element: etree._Element) -> None:
        """A chart (its title and figures) or an equation, which are documents in the document."""
        folder = (value(element, "href") or "").removeprefix("./")
        root = self.archive.xml(f"{folder}/content.xml")
        if root is not None and local(root) == "math":
            texts = (part.text or "" for part in root.iter("{*}mi", "{*}mn", "{*}mo", "{*}mtext"))
            self.builder.add("paragraph", clean(" ".join(texts)))
        elif root is not None:
            self.read(_content(root))

    def _paragraph(self, element: etree._Element, level: int | None = None) -> None:
        lines = (clean(line) for line in self._text(element).split("\n"))
        self.builder.add("heading" if level else "paragraph", "\n".join(filter(None, lines)), level)
        self._read_aside()

    def _read_aside(self) -> None:
        waiting, self._aside = self._aside, []
        for element in waiting:
            body = child(element, "note-body") if local(element) == "note" else element
            if local(element) in ("table", "object"):
                self.read([element])
            elif body is not None:
                self.read([part for part in body if local(part) not in _REMARK_HEAD])

    def _text(self, element: etree._Element) -> str:
        return "".join(self._pieces(element))

    def _pieces(self, element: etree._Element) -> Iterator[str]:
        yield _flat(element.text)
        for part in element:
            name = local(part)
            if name in _ASIDE:
                self._aside.append(part)
                yield " "
            elif name in ("s", "tab"):
                yield " "
            elif name == "line-break":
                yield "\n"
            elif name not in _SKIPPED and name:
                yield from self._pieces(part)
            yield _flat(part.tail)

    def _items(self, element: etree._Element, indent: str) -> list[str]:
        """A list's items, a line each; a list in an item is indented below it."""
        lines = []
        for item in element:
            texts = [clean(self._text(part)) for part in item if local(part) in ("p", "h")]
            lines += [f"{indent}- {' '.join(filter(None, texts))}"] if any(texts) else []
            for inner in children(item, "list"):
                lines += self._items(inner, indent + "  ")
        return lines

    def _cells(self, table: etree._Element) -> Rows:
        """The filled cells by row and column; what is repeated without content only counts."""
        rows: Rows = {}
        row_number = 1
        for row in _within(table, "table-row"):
            cells = self._row(row)
            repeated = number(row, "number-rows-repeated", 1)
            for offset in range(min(repeated, _MAX_REPEATED) if cells else 0):
                rows[row_number + offset] = dict(cells)
            row_number += repeated
        _fill_down(table, rows)
        return rows

    def _row(self, row: etree._Element) -> dict[int, str]:
        cells: dict[int, str] = {}
        column = 1
        for cell in row:
            if local(cell) not in ("table-cell", "covered-table-cell"):
                continue
            text = self._cell(cell)
            repeated = number(cell, "number-columns-repeated", 1)
            for offset in range(min(repeated, _MAX_REPEATED) if text else 0):
                cells[column + offset] = text
            column = min(column + repeated, _MAX_COLUMNS)
        return cells

    def _cell(self, cell: etree._Element) -> str:
        """A cell's text on one line, a table inside it included."""
        texts = [self._text(part) for part in cell.iter("{*}p", "{*}h") if not _is_remark(part, cell)]
        self._aside += [part for part in cell if local(part) == "annotation"]
        return clean(" ".join(texts))

    def _table_rows(self, table: etree._Element) -> list[list[str]]:
        rows = self._cells(table)
        columns = sorted({column for row in rows.values() for column in row})
        return [[rows[place].get(column, "") for column in columns] for place in sorted(rows)]


def _flat(text: str | None) -> str:
    return text.replace("\n", " ").replace("\r", " ") if text else ""


def _is_remark(paragraph: etree._Element, cell: etree._Element) -> bool:
    """Whether a paragraph belongs to a comment or a note, which is read by itself, or to another paragraph."""
    for ancestor in paragraph.iterancestors():
        if ancestor is cell:
            return False
        if local(ancestor) in ("annotation", "note", "text-box", "p", "h"):
            return True
    return False


def _within(table: etree._Element, name: str) -> Iterator[etree._Element]:
    """Rows, also those in groups; not those of a table in a cell."""
    for part in table:
        found = local(part)
        if found == name:
            yield part
        elif found in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _within(part, name)


def _fill_down(table: etree._Element, rows: Rows) -> None:
    """A cell that spans several rows stands in each of them."""
    row_number = 1
    for row in _within(table, "table-row"):
        column = 1
        for cell in row:
            down = number(cell, "number-rows-spanned", 1, most=1000)
            text = rows.get(row_number, {}).get(column) if down > 1 else None
            for below in range(row_number + 1, row_number + down):
                if text and below in rows:
                    rows[below].setdefault(column, text)
            column = min(column + number(cell, "number-columns-repeated", 1), _MAX_COLUMNS)
        row_number += number(row, "number-rows-repeated", 1)
