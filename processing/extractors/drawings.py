"""Text in Office's drawings, which slides and sheets have in common: paragraphs, tables, charts, diagrams."""

import re
from collections.abc import Iterator

from lxml import etree

from processing.extractors.blocks import TextBuilder, clean
from processing.extractors.office_math import as_text
from processing.extractors.office_xml import child, children, local, number, value

_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf|svg)", re.I)


def paragraphs(body: etree._Element | None) -> list[str]:
    """The paragraphs of a text body, those without text left out."""
    return [text for paragraph in children(body, "p") if (text := line(paragraph))]


def line(paragraph: etree._Element) -> str:
    return clean("".join(_pieces(paragraph)))


def _pieces(element: etree._Element) -> Iterator[str]:
    for part in element:
        name = local(part)
        if name == "t":
            yield part.text or ""
        elif name in ("br", "tab"):
            yield " "
        elif name in ("oMath", "oMathPara"):
            yield f" {as_text(part)} "
        elif name == "AlternateContent":
            yield from _pieces(chosen(part))
        elif name and name not in ("rPr", "pPr"):
            yield from _pieces(part)


def chosen(alternatives: etree._Element) -> etree._Element:
    """One of several forms of the same thing: the first that holds anything."""
    forms = [*children(alternatives, "Choice"), *children(alternatives, "Fallback")]
    return next((form for form in forms if len(form)), alternatives)


def rows(table: etree._Element) -> list[list[str]]:
    """A table's cells; one that is merged downwards stands in each of its rows."""
    found: list[list[str]] = []
    for row in children(table, "tr"):
        cells: list[str] = []
        for cell in children(row, "tc"):
            above = found[-1][len(cells)] if found and len(cells) < len(found[-1]) else ""
            text = " ".join(paragraphs(child(cell, "txBody")))
            cells.append(above if value(cell, "vMerge") in ("1", "true") else text)
        found.append(cells)
    return found


def chart(root: etree._Element) -> tuple[str, list[list[str]]]:
    """A chart's title and its figures as rows: the categories in the first column, a series in each further one."""
    plot = child(root, "chart", "plotArea")
    found = list(plot.iter("{*}ser")) if plot is not None else []
    names = [" ".join(points(child(series, "tx")).values()) for series in found]
    columns = [points(child(series, "val")) or points(child(series, "yVal")) for series in found]
    categories = next(filter(None, (points(child(s, "cat")) or points(child(s, "xVal")) for s in found)), {})
    places = sorted({place for column in [categories, *columns] for place in column})
    table = [[categories.get(place, ""), *(column.get(place, "") for column in columns)] for place in places]
    titles = [line(title) for title in root.iter("{*}title")]
    return "; ".join(filter(None, titles)), [["", *names], *table] if table else []


def points(element: etree._Element | None) -> dict[int, str]:
    """The values that a chart keeps of the cells it was made from, by their place."""
    if element is None:
        return {}
    found = {number(point, "idx"): clean(point.findtext("{*}v") or "") for point in element.iter("{*}pt")}
    return found or {0: clean(element.findtext("{*}v") or "")}


def diagram(root: etree._Element) -> list[str]:
    """The texts of a diagram (SmartArt)."""
    bodies = (child(point, "t") for point in root.iter("{*}pt"))
    return [text for body in bodies for text in paragraphs(body)]


def description(shape: etree._Element) -> str:
    """What somebody wrote for those who cannot see a picture; the name of its file does not count."""
    text = clean(next((value(element, "descr") or "" for element in shape.iter("{*}cNvPr")), ""))
    return "" if _FILE_NAME.fullmatch(text) else text


def add_chart(builder: TextBuilder, root: etree._Element) -> None:
    """A chart's title and figures into the text."""
    title, figures = chart(root)
    builder.add("paragraph", title)
    builder.add_table(figures, header=True)
