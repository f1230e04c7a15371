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
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_NOTES: Final = {"footnote": "footnotes", "endnote": "endnotes", "comment": "comments"}
_SKIPPED: Final = frozenset({"del", "moveFrom", "instrText", "delText", "delInstrText", "Fallback", "rt", "pPr", "rPr"})
_LETTER = re.compile(r"[^\W\d_]")
_HEADING_STYLE = re.compile(r"heading (\d)")
_MAX_SPAN: Final = 100
_GRAPHIC_PARTS = re.compile(r"word/(?:diagrams/data|charts/chart)\d*\.xml")


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    return [child for child in element if _local(child) == name]


def _child(element: etree._Element | None, *path: str) -> etree._Element | None:
    for name in path:
        element = next(iter(_children(element, name)), None) if element is not None else None
    return element


def _value(element: etree._Element | None, name: str = "val") -> str | None:
    """An attribute by its local name."""
    if element is None:
        return None
    return next((str(value) for key, value in element.attrib.items() if etree.QName(key).localname == name), None)


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The document's text in reading order; headers, footers and diagrams at its end."""
    with open_archive(data) as archive:
        main = _main_part(archive)
        body = _child(archive.xml(main), "body")
        if body is None:
            raise ExtractionRefused("broken", DAMAGED)
        reader = _Reader(TextBuilder(limits), _Styles.read(archive, main), _read_notes(archive, main))
        reader.read(body)
        for extra in _surroundings(archive, main):
            if any(_LETTER.search(text) for text in extra.itertext()):  # not the page number alone
                reader.read(extra)
        return reader.builder.finish(*_properties(archive))


def _main_part(archive: Archive) -> str:
    """The path of the document's main part, as the package's relations name it."""
    relations = archive.xml("_rels/.rels")
    for relation in relations if relations is not None else []:
        if str(relation.get("Type", "")).endswith("/officeDocument"):
            return str(relation.get("Target", "")).lstrip("/")
    raise ExtractionRefused("broken", DAMAGED)


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
        styles = (
            {_value(style, "styleId") or "": style for style in _children(root, "style")} if root is not None else {}
        )
        levels = {name: level for name in styles if (level := _style_level(styles, name))}
        lists = frozenset(name for name, style in styles.items() if _child(style, "pPr", "numPr") is not None)
        return cls(levels, lists)


def _style_level(styles: dict[str, etree._Element], name: str) -> int | None:
    """A style's heading level: by its name or outline level, or those of the style that it is based on."""
    for _ in range(10):
        style = styles.get(name)
        if style is None:
            return None
        title = (_value(_child(style, "name")) or "").lower()
        named = _HEADING_STYLE.fullmatch(title)
        if named or title == "title":
            return min(int(named.group(1)), 6) if named else 1
        outline = _value(_child(style, "pPr", "outlineLvl"))
        if outline is not None and outline.isdigit():
            return int(outline) + 1 if int(outline) < 6 else None
        name = _value(_child(style, "basedOn")) or ""
    return None


def _read_notes(archive: Archive, main: str) -> dict[tuple[str, str], etree._Element]:
    """Footnotes, endnotes and comments by kind and id."""
    notes = {}
    for kind, part in _NOTES.items():
        root = archive.xml(_beside(main, part))
        for note in _children(root, kind) if root is not None else []:
            notes[kind, _value(note, "id") or ""] = note
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


def _properties(archive: Archive) -> tuple[str | None, dict[str, str]]:
    root = archive.xml("docProps/core.xml")
    texts = {_local(element): clean(element.text or "")[:300] for element in root} if root is not None else {}
    metadata = {
        "title": texts.get("title", ""),
        "author": texts.get("creator", ""),
        "subject": texts.get("subject", ""),
    }
    metadata = {key: value for key, value in metadata.items() if value}
    return metadata.get("title"), metadata


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
            name = _local(element)
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
        properties = _child(element, "pPr")
        style = _value(_child(properties, "pStyle")) or ""
        level = self._level(properties, style)
        if level is None and (style in self.styles.lists or _child(properties, "numPr") is not None):
            self._items += [f"- {text}"] if text else []
        else:
            self._flush()
            self.builder.add("heading" if level else "paragraph", text, level)
        self._read_aside()

    def _level(self, properties: etree._Element | None, style: str) -> int | None:
        outline = _value(_child(properties, "outlineLvl")) or ""
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
        for child in element:
            name = _local(child)
            if name == "t":
                yield child.text or ""
            elif name in ("tab", "ptab"):
                yield " "
            elif name in ("br", "cr"):
                yield "\n"
            elif name == "noBreakHyphen":
                yield "-"
            elif name in ("oMath", "oMathPara"):
                yield f" {as_text(child)} "
            elif name.endswith("Reference") and name.removesuffix("Reference") in _NOTES:
                yield from self._note(child, name.removesuffix("Reference"))
            elif name == "txbxContent":
                self._aside.append(child)
            elif name == "AlternateContent":
                yield from self._alternative(child)
            elif name not in _SKIPPED and name:
                yield from self._pieces(child)

    def _note(self, reference: etree._Element, kind: str) -> Iterator[str]:
        note = self.notes.get((kind, _value(reference, "id") or ""))
        if note is not None:
            self._aside.append(note)
            yield " "

    def _alternative(self, element: etree._Element) -> Iterator[str]:
        """One of several forms of the same thing: the first, or the fallback where that holds no text."""
        forms = [*_children(element, "Choice"), *_children(element, "Fallback")]
        with_text = (form for form in forms if any(_local(found) == "t" for found in form.iter()))
        chosen = next(with_text, None)
        if chosen is not None:
            yield from self._pieces(chosen)

    def _rows(self, table: etree._Element) -> list[list[str]]:
        """The cells' texts; a cell merged downwards stands in each of its rows."""
        rows: list[list[str]] = []
        for row in _within(table, "tr"):
            cells: list[str] = []
            for cell in _within(row, "tc"):
                merged = _child(cell, "tcPr", "vMerge")
                goes_on = merged is not None and _value(merged) != "restart"
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
        if _local(ancestor) in ("txbxContent", "Fallback", "p"):
            return False
    return False


def _within(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Rows or cells, also those inside of content controls and tracked changes."""
    for child in element:
        local = _local(child)
        if local == name:
            yield child
        elif local in ("sdt", "sdtContent", "customXml", "ins", "moveTo"):
            yield from _within(child, name)


def _span(cell: etree._Element) -> int:
    value = _value(_child(cell, "tcPr", "gridSpan")) or "1"
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() else 1
