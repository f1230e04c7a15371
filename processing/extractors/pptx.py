"""PowerPoint presentations, read straight from their XML: a slide is a page, its title a heading.

Grouped shapes, tables, charts' figures, diagrams, descriptions of pictures, comments and the speaker's notes are part
of the text; the masters' are not. Shapes are read in the order of the file, which is that of screen readers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final

from lxml import etree

from processing.extractors import drawings
from processing.extractors.archive import DAMAGED, Archive, open_archive
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.office_xml import (
    Relation,
    child,
    children,
    local,
    main_part,
    properties,
    relations,
    target,
    value,
)
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_TITLES: Final = ("title", "ctrTitle")
_RUNNING: Final = ("dt", "ftr", "sldNum", "hdr", "sldImg")
"""Placeholders that repeat on every slide: date, footer, number."""


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """All slides in their order, hidden ones too."""
    with open_archive(data) as archive:
        main = main_part(archive)
        presentation, parts = archive.xml(main), relations(archive, main)
        if presentation is None:
            raise ExtractionRefused("broken", DAMAGED)
        slides = [target(parts, entry) for entry in children(child(presentation, "sldIdLst"), "sldId")]
        builder = TextBuilder(limits)
        for number, name in enumerate(slides, 1):
            _Slide(archive, builder, name, number, relations(archive, name)).read()
            report(number / len(slides), number)
        return builder.finish(*properties(archive), page_kind="slide")


@dataclass
class _Slide:
    """One slide on its way into the text."""

    archive: Archive
    builder: TextBuilder
    name: str
    number: int
    parts: dict[str, Relation]

    def read(self) -> None:
        root = self.archive.xml(self.name)
        hidden = value(root, "show") in ("0", "false")
        self.builder.begin_page(f"{self.number} (hidden)" if hidden else None)
        if root is None:
            self.builder.warn(f"Slide {self.number} is damaged and could not be read.")
            return
        shapes = list(_shapes(child(root, "cSld", "spTree")))
        titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
        self.builder.add("heading", " ".join(filter(None, map(_line, titles))), 1)
        for shape in shapes:
            if shape not in titles:
                self._shape(shape)
        self._beside()

    def _shape(self, shape: etree._Element) -> None:
        if _placeholder(shape) in _RUNNING:
            return
        texts = drawings.paragraphs(child(shape, "txBody"))
        if len(texts) > 1 and _placeholder(shape) != "subTitle":
            self.builder.add_list(texts)
        else:
            self.builder.add("paragraph", "\n".join(texts))
        if not texts:
            self._graphic(shape)

    def _graphic(self, shape: etree._Element) -> None:
        """A table, a chart, a diagram, or the description of a picture."""
        self.builder.add("paragraph", drawings.description(shape))
        for element in shape.iter("{*}tbl"):
            self.builder.add_table(drawings.rows(element))
        for element in shape.iter("{*}chart", "{*}relIds"):
            self._linked(element)

    def _linked(self, reference: etree._Element) -> None:
        wanted = {"id", "dm"}
        ids = {str(found) for key, found in reference.attrib.items() if etree.QName(key).localname in wanted}
        for relation in (self.parts[name] for name in sorted(ids & self.parts.keys())):
            root = self.archive.xml(relation.target)
            if root is not None and relation.kind == "chart":
                drawings.add_chart(self.builder, root)
            elif root is not None and relation.kind == "diagramData":
                self.builder.add_list(drawings.diagram(root))

    def _beside(self) -> None:
        """The speaker's notes and what others remarked."""
        for relation in self.parts.values():
            if relation.kind not in ("notesSlide", "comments"):
                continue
            root = self.archive.xml(relation.target)
            if root is None:
                continue
            label = "Notes" if relation.kind == "notesSlide" else "Comments"
            texts = _notes(root) if relation.kind == "notesSlide" else _comments(root)
            self.builder.add("paragraph", "\n".join([f"{label}:", *texts]) if texts else "")


def _shapes(tree: etree._Element | None) -> Iterator[etree._Element]:
    """The shapes of a tree, those in groups and alternatives too."""
    for element in tree if tree is not None else []:
        name = local(element)
        if name == "grpSp":
            yield from _shapes(element)
        elif name == "AlternateContent":
            yield from _shapes(drawings.chosen(element))
        elif name in ("sp", "pic", "graphicFrame", "cxnSp"):
            yield element


def _placeholder(shape: etree._Element) -> str:
    """What a shape is in the slide's layout (``title``, ``body``); empty for one that stands by itself."""
    place = child(next(iter(shape), None), "nvPr", "ph")
    return (value(place, "type") or "body") if place is not None else ""


def _line(shape: etree._Element) -> str:
    return " ".join(drawings.paragraphs(child(shape, "txBody")))


def _notes(root: etree._Element) -> list[str]:
    shapes = [shape for shape in _shapes(child(root, "cSld", "spTree")) if _placeholder(shape) not in _RUNNING]
    return [text for shape in shapes for text in drawings.paragraphs(child(shape, "txBody"))]


def _comments(root: etree._Element) -> list[str]:
    """Comments of the old kind, which are plain, and of the new one, which are paragraphs."""
    plain = [clean(element.text or "") for element in root.iter("{*}text")]
    return [text for text in plain if text] + [
        text for body in root.iter("{*}txBody") for text in drawings.paragraphs(body)
    ]
