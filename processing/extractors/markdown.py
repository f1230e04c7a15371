"""Markdown. The text is the file itself; its blocks come from a CommonMark parser's line numbers."""

import re
from mmap import mmap
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from processing.extractors.blocks import Report, clean, first_heading
from processing.extractors.plain_text import decode, refuse_blank
from ragsite.extraction import Block, BlockKind, Extraction, Limits

_LINE_END = re.compile(r"\r\n|\r|\n")
_FRONT_MATTER = re.compile(r"\A---[ \t]*(?:\r\n|\r|\n).*?^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)
_HEADING_MARKS = re.compile(r"^#+|#+$|[*_`]")
_KINDS: Final[dict[str, BlockKind]] = {
    "heading_open": "heading",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
}
_PARSER: Final = MarkdownIt("commonmark").enable("table").disable("inline")


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The file as it is, with the blocks of its top level."""
    text = decode(bytes(data), limits)
    front = _FRONT_MATTER.match(text)
    blocks = _blocks(text, front.group() if front else "")
    refuse_blank(blocks)
    return Extraction(text, blocks=blocks, title=_title(text, blocks, front.group() if front else ""))


def _blocks(text: str, front: str) -> list[Block]:
    starts = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    blocks = [Block("paragraph", 0, len(front.rstrip()))] if front else []
    blanked = "\n" * len(_LINE_END.findall(front)) + text[len(front) :]
    for token in _PARSER.parse(blanked):
        if token.level == 0 and token.map and token.nesting >= 0:
            block = _block(text, token, starts)
            if block.start < block.end:
                blocks.append(block)
    return blocks


def _block(text: str, token: Token, starts: list[int]) -> Block:
    first, last = token.map or (0, 0)
    start, end = starts[first], starts[min(last, len(starts) - 1)]
    content = text[start:end]
    start += len(content) - len(content.lstrip("\r\n"))
    end = start + len(text[start:end].rstrip())
    kind = _KINDS.get(token.type, "paragraph")
    return Block(kind, start, end, int(token.tag[1]) if kind == "heading" else None, None, kind == "table")


def _title(text: str, blocks: list[Block], front: str) -> str | None:
    named = _TITLE.search(front)
    title = named.group(1).strip("\"' ") if named else first_heading(text, blocks)
    return clean(_HEADING_MARKS.sub("", title)) if title else None
