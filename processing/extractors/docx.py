"""Word documents, read straight from their XML, so that nothing is lost on the way.

Elements are told by their local names: the Strict and the Transitional form of the format differ only in namespaces.
Text boxes, footnotes, comments, equations, diagrams, headers and footers are part of the text.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

from lxml import etree

from processing.extractors.archive import DAMAGED, Archive, open_archive
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.office_math import as_text
from processing.extractors.office_xml import child, children, local, main_part, number, properties, value
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_NOTES: Final = {"footnote": "footnotes", "endnote": "endnotes", "comment": "comments"}
_SKIPPED: Final = frozenset({"del", "moveFrom", "instrText", "delText", "delInstrText", "Fallback", "rt", "pPr", "rPr"})
_LETTER = re.compile(r"[^\W\d_]")
_HEADING_STYLE = re.compile(r"heading (\d)")
_MAX_SPAN: Final = 100
_GRAPHIC_PARTS = re.compile(r"word/(?:diagrams/data|charts/chart)\d*\.xml")


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The document's text in reading order; headers, footers and diagrams at its end."""
    with open_archive(data) as archive:
        main = main_part(archive)
        body = child(archive.xml(main), "body")
        if body is None:
            raise ExtractionRefused("broken", DAMAGED)
        reader = _Reader(TextBuilder(limits), _Styles.read(archive, main), _read_notes(archive, main))
        reader.read(body)
        for extra in _surroundings(archive, main):
            if any(_LETTER.search(text) for text in extra.itertext()):  # not the page number alone
                reader.read(extra)
        return reader.builder.finish(*properties(archive))


def _beside(main: str, name: str) -> str:
    return posixpath.join(posixpath.dirname(main), f"{name}.xml")


@dataclass(frozen=True)
class _Styles:
    """What the named styles mean: heading levels, and which are lists."""

    levels: dict[str, int]
    lists: frozenset[str]

    @classmethod
    def read(cls, archive: Archive, main: str) -> "_Styles":
        root = archive.xml(_beside(main, "styles"))
        styles = {value(style, "styleId") or "": style for style in children(root, "style")} if root is not None else {}
        levels = {name: level for name in styles if (level := _style_level(styles, name))}
        lists = frozenset(name for name, style in styles.items() if child(style, "pPr", "numPr") is not None)
        return cls(levels, lists)


def _style_level(styles: dict[str, etree._Element], name: str) -> int | None:
    """A style's heading level: by its name or outline level, or those of the style that it is based on."""
    for _ in range(10):
        style = styles.get(name)
        if style is None:
            return None
        title = (value(child(style, "name")) or "").lower()
        named = _HEADING_STYLE.fullmatch(title)
        if named or title == "title":
            return min(int(named.group(1)), 6) if named else 1
        outline = value(child(style, "pPr", "outlineLvl"))
        if outline is not None and outline.isdigit():
            return int(outline) + 1 if int(outline) < 6 else None
        name = value(child(style, "basedOn")) or ""
    return None


def _read_notes(archive: Archive, main: str) -> dict[tuple[str, str], etree._Element]:
    """Footnotes, endnotes and comments by kind and id."""
    notes = {}
    for kind, part in _NOTES.items():
        root = archive.xml(_beside(main, part))
        for note in children(root, kind) if root is not None else []:
            notes[kind, value(note, "id") or ""] = note
    return notes


def _surroundings(archive: Archive, main: str) -> Iterator[etree._Element]:
    """Headers, footers, diagrams and charts: the parts that stand outside of the text's flow."""
    folder = posixpath.dirname(main)
    for name in sorted(archive.names):
        running = posixpath.dirname(name) == folder and posixpath.basename(name).startswith(("header", "footer"))
        if (running and name.endswith(".xml")) or _GRAPHIC_PARTS.fullmatch(name):
            root = archive.xml(name)
            if root is not None:
                yield root


@dataclass
class _Reader:
    """Walks through body elements and writes blocks; list items in a row become one list."""

    builder: TextBuilder
    styles: _Styles
    notes: dict[tuple[str, str], etree._Element]
    _items: list[str] = field(default_factory=list)
    _aside: list[etree._Element] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def read(self, container: etree._Element) -> None:
        """Take in all blocks of a body, a note, a text box, a header or a diagram."""
        for element in container:
            name = local(element)
            if name == "p":
                self._paragraph(element)
            elif name == "tbl":
                self._flush()
                self.builder.add_table(self._rows(element))
                self._read_aside()
            elif name not in _SKIPPED and name:
                self.read(element)
        self._flush()

    def _paragraph(self, element: etree._Element) -> None:
        text = "\n".join(filter(None, map(clean, self._text(element).split("\n"))))
        own = child(element, "pPr")
        style = value(child(own, "pStyle")) or ""
        level = self._level(own, style)
        if level is None and (style in self.styles.lists or child(own, "numPr") is not None):
            self._items += [f"- {text}"] if text else []
        else:
            self._flush()
            self.builder.add("heading" if level else "paragraph", text, level)
        self._read_aside()

    def _level(self, properties: etree._Element | None, style: str) -> int | None:
        outline = value(child(properties, "outlineLvl")) or ""
        if outline.isdigit() and int(outline) < 6:
            return int(outline) + 1
        return self.styles.levels.get(style)

    def _flush(self) -> None:
        self.builder.add("list", "\n".join(self._items))
        self._items.clear()

    def _read_aside(self) -> None:
        """What a paragraph refers to follows it: its notes and text boxes."""
        waiting, self._aside = self._aside, []
        for element in waiting:
            self._flush()
            self.read(element)

    def _text(self, element: etree._Element) -> str:
        return "".join(self._pieces(element))

    def _pieces(self, element: etree._Element) -> Iterator[str]:
        for part in element:
            name = local(part)
            if name == "t":
                yield part.text or ""
            elif name in ("tab", "ptab"):
                yield " "
            elif name in ("br", "cr"):
                yield "\n"
            elif name == "noBreakHyphen":
                yield "-"
            elif name in ("oMath", "oMathPara"):
                yield f" {as_text(part)} "
            elif name.endswith("Reference") and name.removesuffix("Reference") in _NOTES:
                yield from self._note(part, name.removesuffix("Reference"))
            elif name == "txbxContent":
                self._aside.append(part)
            elif name == "AlternateContent":
                yield from self._alternative(part)
            elif name not in _SKIPPED and name:
                yield from self._pieces(part)

    def _note(self, reference: etree._Element, kind: str) -> Iterator[str]:
        note = self.notes.get((kind, value(reference, "id") or ""))
        if note is not None:
            self._aside.append(note)
            yield " "

    def _alternative(self, element: etree._Element) -> Iterator[str]:
        """One of several forms of the same thing: the first, or the fallback where that holds no text."""
        forms = [*children(element, "Choice"), *children(element, "Fallback")]
        with_text = (form for form in forms if any(local(found) == "t" for found in form.iter()))
        chosen = next(with_text, None)
        if chosen is not None:
            yield from self._pieces(chosen)

    def _rows(self, table: etree._Element) -> list[list[str]]:
        """The cells' texts; a cell merged downwards stands in each of its rows."""
        rows: list[list[str]] = []
        for row in _within(table, "tr"):
            cells: list[str] = []
            for cell in _within(row, "tc"):
                merged = child(cell, "tcPr", "vMerge")
                goes_on = merged is not None and value(merged) != "restart"
                above = rows[-1][len(cells)] if goes_on and rows and len(cells) < len(rows[-1]) else ""
                text = above if goes_on else self._cell(cell)
                cells += [text] + [""] * (_span(cell) - 1)
            rows.append(cells)
        return rows

    def _cell(self, cell: etree._Element) -> str:
        """A cell's text on one line, a table inside it included."""
        return clean(" ".join(self._text(paragraph) for paragraph in cell.iter("{*}p") if _is_own(paragraph, cell)))


def _is_own(paragraph: etree._Element, cell: etree._Element) -> bool:
    """Whether a paragraph is read with its cell, not with a text box (or as its fallback) in it."""
    for ancestor in paragraph.iterancestors():
        if ancestor is cell:
            return True
        if local(ancestor) in ("txbxContent", "Fallback", "p"):
            return False
    return False


def _within(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Rows or cells, also those inside of content controls and tracked changes."""
    for part in element:
        name_of_part = local(part)
        if name_of_part == name:
            yield part
        elif name_of_part in ("sdt", "sdtContent", "customXml", "ins", "moveTo"):
            yield from _within(part, name)


def _span(cell: etree._Element) -> int:
    return max(number(child(cell, "tcPr", "gridSpan"), "val", 1, _MAX_SPAN), 1)
