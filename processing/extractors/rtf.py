"""RTF. Headings by style or outline level; tables, footnotes, comments, text boxes, headers and footers are read.

A document is a tree of groups in braces; a group inherits what is set around it and forgets it at its end.
"""

import re
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Final

from processing.extractors.archive import DAMAGED
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.rtf_tokens import (
    ESCAPED,
    SPECIAL,
    SYMBOLS,
    Token,
    decoded,
    encoding_of_charset,
    encoding_of_code_page,
    tokens,
)
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_UNREAD: Final = frozenset({
    "colortbl", "filetbl", "listtable", "listoverridetable", "revtbl", "rsidtbl", "generator", "themedata",
    "colorschememapping", "datastore", "latentstyles", "xmlnstbl", "pict", "objdata", "objclass", "nonshppict",
    "shprslt", "fldinst", "bkmkstart", "bkmkend", "listtext", "pntext", "pn", "pnseclvl", "template", "mmathPr",
    "userprops", "docvar", "sp", "picprop", "blipuid", "ftnsep", "ftnsepc", "aftnsep", "aftnsepc", "atnid",
    "atnauthor", "atntime", "atnicn", "atnref", "atndate", "atnparent", "atrfstart", "atrfend", "author",
    "operator", "company", "doccomm", "keywords", "category", "manager", "creatim", "revtim", "printim", "buptim",
    "hlinkbase", "ffname", "ffdeftext", "ffformat", "fontemb", "fontfile", "falt", "panose", "htmltag",
})  # fmt: skip
_READ_THOUGH_OPTIONAL: Final = frozenset({"shpinst", "shptxt", "annotation", "fldrslt", "fonttbl", "footnote"})
_ASIDE: Final = frozenset({"footnote", "annotation", "shptxt", "dptxbxtext"})
_RUNNING: Final = frozenset({"header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"})
_HEADING_STYLE = re.compile(r"(?:heading|überschrift|titre|título|titolo|kop|rubrik) ?(\d)", re.I)


@dataclass(frozen=True)
class _State:
    """What holds within a group."""

    flow: str = "body"
    unread: bool = False
    hidden: bool = False
    encoding: str = ""
    skip_after_unicode: int = 1
    font: int = 0


@dataclass
class _Paragraph:
    """What is set for the paragraphs that come."""

    style: int | None = None
    outline: int | None = None
    in_table: bool = False
    is_item: bool = False


@dataclass
class _Flow:
    """A run of text of its own: the body, a note, a text box, a header."""

    text: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str | list[list[str]], int | None]] = field(default_factory=list)
    waiting: list["_Flow"] = field(default_factory=list)


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The document's text in reading order; headers and footers at its end."""
    content = bytes(data)
    if not content.startswith(b"{\\rtf"):
        raise ExtractionRefused("broken", DAMAGED)
    return _Reader(TextBuilder(limits)).read(content)


@dataclass
class _Reader:
    builder: TextBuilder
    state: _State = field(default_factory=_State)
    stack: list[tuple[_State, _Paragraph]] = field(default_factory=list)
    flows: list[_Flow] = field(default_factory=lambda: [_Flow()])
    running: list[_Flow] = field(default_factory=list)
    paragraph: _Paragraph = field(default_factory=_Paragraph)
    fonts: dict[int, str] = field(default_factory=dict)
    levels: dict[int, int] = field(default_factory=dict)
    encoding: str = "cp1252"
    title: str = ""
    _bytes: bytearray = field(default_factory=bytearray)
    _to_skip: int = 0
    _optional: bool = False
    _style: int = 0
    _name: str = ""
    _deep: list[int] = field(default_factory=list)

    def read(self, content: bytes) -> Extraction:
        for token in tokens(content):
            self._take(token)
        while len(self.flows) > 1:
            self._close_flow()
        body = self.flows[0]
        self._end_paragraph()
        self._end_table(body)
        for flow in [body, *self.running]:
            self._write(flow)
        title = clean(self.title)[:300]
        return self.builder.finish(title or None, {"title": title} if title else {})

    def _take(self, token: Token) -> None:
        if token.byte:
            self._byte(token.byte)
            return
        if token.letters or token.symbol in ESCAPED:
            self._letters(token.letters or token.symbol)
            return
        self._flush_bytes()
        if token.brace:
            self._brace(token.brace)
        elif token.symbol:
            self._symbol(token.symbol)
        elif token.word:
            self._word(token.word, token.number)

    def _brace(self, brace: bytes) -> None:
        self._to_skip = 0
        if brace == b"{":
            self.stack.append((self.state, replace(self.paragraph)))
        elif self.stack:
            ended = self.state
            self.state, outer = self.stack.pop()
            if ended.flow == "stylesheet":
                self._end_style()
            if self._deep and len(self.stack) < self._deep[-1]:
                self._close_flow()
                self.paragraph = outer

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._optional = True
        elif symbol in (b"\r", b"\n"):
            self._end_paragraph()
        else:
            self._put(SYMBOLS.get(symbol, ""))

    def _letters(self, letters: bytes) -> None:
        skipped = min(self._to_skip, len(letters))
        self._to_skip -= skipped
        self._bytes += letters[skipped:]

    def _byte(self, byte: bytes) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._bytes += byte

    def _flush_bytes(self) -> None:
        if self._bytes:
            text = decoded(bytes(self._bytes), self.state.encoding or self.encoding)
            self._bytes.clear()
            self._put(text)

    def _put(self, text: str) -> None:
        if self.state.unread or not text:
            return
        if self.state.flow == "body":
            if not self.state.hidden:
                self.flows[-1].text.append(text)
        elif self.state.flow == "stylesheet":
            self._name += text
        elif self.state.flow == "title":
            self.title += text

    def _word(self, word: str, number: int | None) -> None:
        optional, self._optional = self._optional, False
        if word == "u" and number is not None:
            self._to_skip = self.state.skip_after_unicode
            self._put_unit(number % 65536)
        elif word in SPECIAL:
            self._put(SPECIAL[word])
        elif self.state.flow == "fonttbl":
            self._font_word(word, number)
        elif self.state.flow == "stylesheet" and word in ("s", "outlinelevel"):
            self._style_word(word, number or 0)
        elif not self._destination(word, optional) and not self.state.unread:
            self._format_word(word, number)
            self._paragraph_word(word, number)

    def _put_unit(self, unit: int) -> None:
        """A UTF-16 unit; the second half of a pair joins the first."""
        text = self.flows[-1].text
        if 0xDC00 <= unit < 0xE000 and text and "\ud800" <= text[-1] <= "\udbff":
            first = ord(text.pop())
            self._put(chr(0x10000 + ((first - 0xD800) << 10) + unit - 0xDC00))
        else:
            self._put(chr(unit))

    def _destination(self, word: str, optional: bool) -> bool:
        """Whether the word says where this group's text belongs."""
        if word in _UNREAD or (optional and word not in _READ_THOUGH_OPTIONAL):
            self._mark_item(word)
            self.state = replace(self.state, unread=True)
        elif word in ("fonttbl", "stylesheet", "title"):
            self.state = replace(self.state, flow=word)
        elif word == "info":
            self.state = replace(self.state, flow="info")
        elif word in _ASIDE | _RUNNING and not self.state.unread:
            self._open_flow(running=word in _RUNNING)
        else:
            return False
        return True

    def _mark_item(self, word: str) -> None:
        """The group of a bullet ends before its paragraph does: what it says must outlive it."""
        if word in ("listtext", "pntext") and not self.state.unread:
            self.paragraph.is_item = True

    def _format_word(self, word: str, number: int | None) -> None:
        if word == "ansicpg" and number:
            self.encoding = encoding_of_code_page(number)
        elif word == "mac":
            self.encoding = "mac_roman"
        elif word == "f":
            self.state = replace(self.state, encoding=self.fonts.get(number or 0, ""))
        elif word == "uc":
            self.state = replace(self.state, skip_after_unicode=min(max(number or 0, 0), 16))
        elif word in ("v", "deleted"):
            self.state = replace(self.state, hidden=number != 0)
        elif word == "plain":
            self.state = replace(self.state, hidden=False, encoding="")

    def _paragraph_word(self, word: str, number: int | None) -> None:
        if word == "pard":
            self.paragraph = _Paragraph()
        elif word == "s":
            self.paragraph.style = number
        elif word == "outlinelevel":
            self.paragraph.outline = number
        elif word == "intbl":
            self.paragraph.in_table = True
        elif word == "ls":
            self.paragraph.is_item = bool(number)
        elif word in ("par", "sect", "page"):
            self._end_paragraph()
        elif word in ("cell", "nestcell"):
            self._end_cell()
        elif word == "row":
            self._end_row()

    def _font_word(self, word: str, number: int | None) -> None:
        if word == "f":
            self.state = replace(self.state, font=number or 0)
        elif word == "fcharset":
            encoding = encoding_of_charset(number or 0)
            if encoding:
                self.fonts[self.state.font] = encoding

    def _style_word(self, word: str, number: int) -> None:
        if word == "s":
            self._style = number
        elif number < 6:
            self.levels[self._style] = number + 1

    def _end_style(self) -> None:
        named = _HEADING_STYLE.match(clean(self._name))
        if named and 1 <= int(named[1]) <= 6:
            self.levels.setdefault(self._style, int(named[1]))
        self._name, self._style = "", 0

    def _open_flow(self, running: bool) -> None:
        if not self.paragraph.in_table:
            self._end_table(self.flows[-1])
        flow = _Flow()
        (self.running if running else self.flows[-1].waiting).append(flow)
        self.flows.append(flow)
        self._deep.append(len(self.stack))
        self.paragraph = _Paragraph()

    def _close_flow(self) -> None:
        self._end_paragraph()
        self._end_table(self.flows[-1])
        self.flows.pop()
        self._deep.pop()

    def _end_paragraph(self) -> None:
        flow = self.flows[-1]
        if self.paragraph.in_table:
            flow.text.append("\n")
            return
        self._end_table(flow)
        text = self._taken(flow)
        level = self._level()
        if self.paragraph.is_item and level is None:
            flow.items += [f"- {text}"] if text else []
        else:
            self._end_list(flow)
            flow.blocks.append(("heading" if level else "paragraph", text, level))
        if flow.waiting:
            self._end_list(flow)
            self._take_in_waiting(flow)

    def _taken(self, flow: _Flow) -> str:
        lines = [clean(line) for line in "".join(flow.text).split("\n")]
        flow.text.clear()
        return "\n".join(filter(None, lines))

    def _level(self) -> int | None:
        outline = self.paragraph.outline
        if outline is not None and 0 <= outline < 6:
            return outline + 1
        return self.levels.get(self.paragraph.style) if self.paragraph.style is not None else None

    def _end_cell(self) -> None:
        flow = self.flows[-1]
        self._end_list(flow)
        flow.cells.append(self._taken(flow).replace("\n", " "))

    def _end_row(self) -> None:
        flow = self.flows[-1]
        if flow.cells:
            flow.rows.append(flow.cells)
            flow.cells = []

    def _end_table(self, flow: _Flow) -> None:
        if flow.cells:
            self._end_row()
        if flow.rows:
            flow.blocks.append(("table", flow.rows, None))
            flow.rows = []
            self._take_in_waiting(flow)

    def _end_list(self, flow: _Flow) -> None:
        if flow.items:
            flow.blocks.append(("list", "\n".join(flow.items), None))
            flow.items = []

    def _take_in_waiting(self, flow: _Flow) -> None:
        for inner in flow.waiting:
            flow.blocks += inner.blocks
        flow.waiting.clear()

    def _write(self, flow: _Flow) -> None:
        self._end_list(flow)
        self._take_in_waiting(flow)
        for kind, content, level in flow.blocks:
            if isinstance(content, list):
                self.builder.add_table(content)
            elif kind == "heading":
                self.builder.add("heading", content, level)
            else:
                self.builder.add("list" if kind == "list" else "paragraph", content)
