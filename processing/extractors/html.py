"""HTML: what a reader of the page reads, without its scripts, menus and footers."""

import re
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.plain_text import decode
from ragsite.extraction import BlockKind, Extraction, ExtractionRefused, Limits

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]+)|<\?xml[^>]{0,100}encoding=["']([\w.:-]+)""", re.I
)
_DECLARATION_WITHIN: Final = 4096
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")
_SKIPPED: Final = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "head",
        "nav",
        "footer",
        "svg",
        "math",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "select",
        "datalist",
        "button",
        "dialog",
    }
)
_SKIPPED_ROLES: Final = frozenset({"navigation", "banner", "contentinfo", "search", "menu", "menubar", "toolbar"})
_SKIPPED_CLASSES: Final = frozenset(
    {"mw-editsection", "noprint", "navbox", "mw-jump-link", "visually-hidden", "sr-only"}
)
_BLOCKS: Final = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "form",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "main",
        "p",
        "section",
        "summary",
        "tr",
        "td",
        "th",
        "tbody",
        "thead",
        "tfoot",
    }
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_LISTS: Final = frozenset({"ul", "ol", "menu"})
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_MAX_SPAN: Final = 100
_MAIN_SHARE: Final = 0.3


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The page's main text: headings, paragraphs, lists and tables in order."""
    document = parse(bytes(data), limits)
    builder = TextBuilder(limits)
    add_page(builder, _main(document))
    return builder.finish(title_of(document))


def add_page(builder: TextBuilder, element: HtmlElement) -> None:
    """What a reader reads of an element into the text."""
    walker = Walker(builder)
    walker.walk(element)
    walker.flush()


def title_of(document: HtmlElement) -> str | None:
    return clean(document.findtext(".//title") or "")[:300] or None


def parse(data: bytes, limits: Limits, encoding: str | None = None) -> HtmlElement:
    """A page's elements, in the encoding given, that which it declares, or that which it looks like."""
    return _parse(decode(data, limits, encoding or _declared_encoding(data[:_DECLARATION_WITHIN])))


def _declared_encoding(head: bytes) -> str | None:
    found = _DECLARED.search(head)
    return (found.group(1) or found.group(2)).decode("ascii", "ignore") if found else None


def _parse(text: str) -> HtmlElement:
    parser = HTMLParser(encoding="utf-8", no_network=True, huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        document = document_fromstring(_XML_DECLARATION.sub("", text).encode("utf-8", "replace"), parser=parser)
    except etree.ParserError as error:
        raise ExtractionRefused("no_text", "No text was found in this web page.") from error
    _check_completeness(parser)
    return document


def _check_completeness(parser: HTMLParser) -> None:
    """The parser forgives everything, also that it had to stop: then half a page must not pass for the whole."""
    for entry in parser.error_log:
        if entry.type == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError
        if "Excessive depth" in entry.message:
            raise RecursionError


def _main(document: HtmlElement) -> HtmlElement:
    """The element that says it holds the page's main part, where it does hold a fair share of it."""
    body = document.find("body")
    if body is None:
        return document
    whole = len(body.text_content())
    for path in (".//main", './/*[@role="main"]', ".//article"):
        candidates = body.findall(path)
        if len(candidates) == 1 and len(candidates[0].text_content()) > _MAIN_SHARE * whole:
            return candidates[0]
    return body


def _is_skipped(element: HtmlElement) -> bool:
    return (
        not isinstance(element.tag, str)
        or element.tag in _SKIPPED
        or "hidden" in element.attrib
        or element.get("role") in _SKIPPED_ROLES
        or bool(_HIDDEN_STYLE.search(element.get("style", "")))
        or not _SKIPPED_CLASSES.isdisjoint(element.get("class", "").split())
    )


@dataclass
class Walker:
    """Goes through elements in order; text between blocks gathers until the next block begins."""

    builder: TextBuilder
    _inline: list[str] = field(default_factory=list)

    def walk(self, element: HtmlElement) -> None:
        """Take in an element with all that is in it."""
        tag = element.tag
        if _is_skipped(element):
            return
        if tag in _HEADINGS:
            self._block("heading", clean(_text(element)), _HEADINGS[tag])
        elif tag in _LISTS:
            self._block("list", "\n".join(_items(element, "")))
        elif tag == "table" and not _is_layout(element):
            self._table(element)
        elif tag == "pre":
            self._block("code", element.text_content().strip("\n").rstrip())
        elif tag == "br":
            self._inline.append("\n")
        else:
            self._contents(element)

    def _contents(self, element: HtmlElement) -> None:
        is_block = element.tag in _BLOCKS or element.tag == "table"
        if is_block:
            self.flush()
        self._inline.append(_flat(element.text))
        for child in element:
            self.walk(child)
            self._inline.append(_flat(child.tail))
        if is_block:
            self.flush()

    def _table(self, element: HtmlElement) -> None:
        self.flush()
        caption = element.find("caption")
        if caption is not None:
            self._block("paragraph", clean(_text(caption)))
        rows = _rows(element)
        if max(map(len, rows), default=0) > 1:
            self.builder.add_table(rows)
        else:
            self.builder.add("paragraph", "\n".join(cell for row in rows for cell in row if cell))

    def _block(self, kind: BlockKind, text: str, level: int | None = None) -> None:
        self.flush()
        self.builder.add(kind, text.replace("\x00", ""), level)

    def flush(self) -> None:
        """End the paragraph that is being gathered."""
        lines = [clean(line) for line in "".join(self._inline).split("\n")]
        self._inline.clear()
        self.builder.add("paragraph", "\n".join(line for line in lines if line))


def _flat(text: str | None) -> str:
    """Text as a browser shows it: line ends are spaces."""
    return text.replace("\r", " ").replace("\n", " ") if text else ""


def _text(element: HtmlElement) -> str:
    """All text inside an element, with spaces where blocks or line breaks part words."""
    parts = [_flat(element.text)]
    for child in element:
        if not _is_skipped(child):
            apart = " " if child.tag in _BLOCKS or child.tag in _LISTS or child.tag in ("br", "li", "table") else ""
            parts += [apart, _text(child), apart]
        parts.append(_flat(child.tail))
    return "".join(parts)


def _items(element: HtmlElement, indent: str) -> list[str]:
    """A list's items, a line each; a list in an item is indented below it."""
    lines: list[str] = []
    for child in element:
        if _is_skipped(child):
            continue
        if child.tag in _LISTS:
            lines += _items(child, indent + "  ")
            continue
        inner = [found for found in child if isinstance(found.tag, str) and found.tag in _LISTS]
        text = clean("".join([_flat(child.text), *(_beside(part, inner) for part in child)]))
        lines += [f"{indent}- {text}"] if text else []
        for found in inner:
            lines += _items(found, indent + "  ")
    return lines


def _beside(part: HtmlElement, lists: list[HtmlElement]) -> str:
    own = "" if part in lists or _is_skipped(part) else _text(part)
    apart = " " if part.tag in _BLOCKS or part.tag == "br" else ""
    return f"{apart}{own}{apart}{_flat(part.tail)}"


def _is_layout(table: HtmlElement) -> bool:
    """Whether a table only arranges the page: it holds other tables or headings."""
    return next(table.iter("h1", "h2", "h3"), None) is not None or table.find(".//table") is not None


def _rows(table: HtmlElement) -> list[list[str]]:
    """The cells' texts; one that spans several rows stands in each of them."""
    rows: list[list[str]] = []
    spanning: dict[int, tuple[int, str]] = {}
    for row in table.iter("tr"):
        if _is_skipped(row):
            continue
        cells: list[str] = []
        for cell in row.iterchildren("td", "th"):
            _carry_down(cells, spanning)
            text, down = clean(_text(cell)), _span(cell, "rowspan")
            if down > 1:
                spanning[len(cells)] = (down - 1, text)
            cells += [text] + [""] * (_span(cell, "colspan") - 1)
        _carry_down(cells, spanning)
        rows.append(cells)
    return rows


def _carry_down(cells: list[str], spanning: dict[int, tuple[int, str]]) -> None:
    """Fill the places that cells of earlier rows reach down into."""
    while len(cells) in spanning:
        left, text = spanning.pop(len(cells))
        if left > 1:
            spanning[len(cells)] = (left - 1, text)
        cells.append(text)


def _span(cell: HtmlElement, name: str) -> int:
    value = cell.get(name, "1")
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() else 1
