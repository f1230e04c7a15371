"""Excel workbooks, read straight from their XML: a sheet is a page, its name a heading, its rows lines.

Hidden sheets, text boxes, charts' figures (chart sheets too) and comments are part of the text. Rows are read one at a
time: what a sheet declares as its size is not believed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap
from typing import Final

from lxml import etree

from processing.extractors import drawings
from processing.extractors.archive import DAMAGED, Archive, open_archive
from processing.extractors.blocks import Report, TextBuilder, clean, refuse_too_long
from processing.extractors.cell_values import NumberFormats
from processing.extractors.office_xml import (
    Relation,
    child,
    children,
    local,
    main_part,
    number,
    properties,
    relations,
    target,
    value,
)
from processing.extractors.sheets import Merge, Rows, add_rows
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_PLACE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})")
_YES: Final = ("1", "true")


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """All sheets in their order."""
    with open_archive(data) as archive:
        workbook = _Workbook.open(archive, limits)
        for index, entry in enumerate(workbook.sheets, 1):
            _Sheet(workbook, workbook.builder, entry).read()
            report(index / len(workbook.sheets), index)
        return workbook.builder.finish(*properties(archive), page_kind="sheet")


@dataclass(frozen=True)
class _Workbook:
    """What all sheets share."""

    archive: Archive
    limits: Limits
    builder: TextBuilder
    sheets: list[etree._Element]
    parts: dict[str, Relation]
    strings: list[str]
    formats: NumberFormats

    @classmethod
    def open(cls, archive: Archive, limits: Limits) -> "_Workbook":
        main = main_part(archive)
        root, parts = archive.xml(main), relations(archive, main)
        if root is None:
            raise ExtractionRefused("broken", DAMAGED)
        by_kind = {relation.kind: relation.target for relation in parts.values()}
        since_1904 = value(child(root, "workbookPr"), "date1904") in _YES
        formats = _formats(archive.xml(by_kind.get("styles", "")), since_1904)
        strings = _strings(archive, by_kind.get("sharedStrings", ""), limits)
        sheets = children(child(root, "sheets"), "sheet")
        return cls(archive, limits, TextBuilder(limits), sheets, parts, strings, formats)


def _formats(styles: etree._Element | None, since_1904: bool) -> NumberFormats:
    own = children(child(styles, "numFmts"), "numFmt")
    codes = {number(entry, "numFmtId"): value(entry, "formatCode") or "" for entry in own}
    used = [number(entry, "numFmtId") for entry in children(child(styles, "cellXfs"), "xf")]
    return NumberFormats.of_styles(used, codes, since_1904)


def _strings(archive: Archive, name: str, limits: Limits) -> list[str]:
    """The texts that cells refer to by their number."""
    found: list[str] = []
    length = 0
    for element in archive.each(name, "si") if name in archive.names else ():
        found.append(_text(element))
        length += len(found[-1])
        refuse_too_long(length, limits)
    return found


def _text(element: etree._Element) -> str:
    """The runs of a string, without the readings of its Chinese characters."""
    parts = [part for part in element if local(part) in ("t", "r")]
    return clean("".join(run.text or "" for part in parts for run in part.iter("{*}t")))


@dataclass(frozen=True)
class _Sheet:
    """One sheet on its way into the text."""

    workbook: _Workbook
    builder: TextBuilder
    entry: etree._Element

    def read(self) -> None:
        hidden = " (hidden)" if value(self.entry, "state") in ("hidden", "veryHidden") else ""
        label = clean(value(self.entry, "name") or "")[:200] + hidden
        self.builder.begin_page(label)
        self.builder.add("heading", label, 1)
        name = target(self.workbook.parts, self.entry)
        if name not in self.workbook.archive.names:
            self.builder.warn(f"The sheet {label} is missing in the file and could not be read.")
            return
        add_rows(self.builder, *self._cells_and_merges(name))
        for relation in relations(self.workbook.archive, name).values():
            self._beside(relation)

    def _cells_and_merges(self, name: str) -> tuple[Rows, list[Merge]]:
        rows: Rows = {}
        merges: list[Merge] = []
        length = 0
        for element in self.workbook.archive.each(name, "row", "mergeCell"):
            if local(element) == "mergeCell":
                merges += _merges(value(element, "ref") or "")
                continue
            cells = self._cells(element)
            if cells:
                rows[number(element, "r", len(rows) + 1, most=10_000_000)] = cells
                length += sum(map(len, cells.values()))
                refuse_too_long(length, self.workbook.limits)
        return rows, merges

    def _cells(self, row: etree._Element) -> dict[int, str]:
        cells: dict[int, str] = {}
        column = 0
        for cell in row.iterchildren("{*}c"):
            place = _PLACE.fullmatch(cell.get("r", ""))
            column = _column(place[1]) if place else column + 1
            text = self._shown(cell)
            if text:
                cells[column] = text
        return cells

    def _shown(self, cell: etree._Element) -> str:
        """What a cell shows: its value, or the formula of one that was never computed."""
        kind = cell.get("t", "n")
        parts = {local(part): part for part in cell}
        content = parts["v"].text or "" if "v" in parts else ""
        if kind == "inlineStr":
            return _text(parts["is"]) if "is" in parts else ""
        if not content:
            return clean(f"={parts['f'].text}") if "f" in parts and parts["f"].text else ""
        if kind == "n":
            return self.workbook.formats.show(content, int(cell.get("s", 0)))
        if kind == "s":
            return self.workbook.strings[int(content)]
        if kind == "b":
            return "TRUE" if content in _YES else "FALSE"
        return clean(content)

    def _beside(self, relation: Relation) -> None:
        """Comments, and what is drawn on the sheet."""
        if relation.kind not in ("comments", "drawing"):
            return
        root = self.workbook.archive.xml(relation.target)
        if root is not None and relation.kind == "comments":
            remarks = [
                f"{value(note, 'ref')}: {_text(text)}"
                for note in root.iter("{*}comment")
                for text in children(note, "text")
            ]
            self.builder.add("paragraph", "\n".join(["Comments:", *remarks]) if remarks else "")
        elif root is not None:
            self._drawing(relation.target, root)

    def _drawing(self, name: str, root: etree._Element) -> None:
        parts = relations(self.workbook.archive, name)
        for shape in root.iter("{*}sp", "{*}pic", "{*}graphicFrame"):
            texts = drawings.paragraphs(child(shape, "txBody"))
            self.builder.add("paragraph", "\n".join(texts) or drawings.description(shape))
            for reference in shape.iter("{*}chart"):
                chart = self.workbook.archive.xml(target(parts, reference))
                if chart is not None:
                    drawings.add_chart(self.builder, chart)


def _merges(reference: str) -> Iterator[Merge]:
    first, last = (_PLACE.fullmatch(place) for place in reference.partition(":")[::2])
    if first and last:
        yield Merge(_column(first[1]), int(first[2]), int(last[2]))


@lru_cache(maxsize=20_000)
def _column(letters: str) -> int:
    """A column's number from its letters: A is 1, AA is 27."""
    found = 0
    for letter in letters:
        found = found * 26 + ord(letter) - 64
    return found
