"""Text with its blocks → chunks that follow the structure and fit the embedding model.

Pure: the token counter is given. A chunk is one run of the document's text, on one page, with the path of headings that
it stands under; a table's rows keep their header in that path when the table goes on in another chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from documents.places import HEADING_CHARACTERS
from ragsite.extraction import Block, Extraction
from ragsite.sentences import sentences

MAX_TOKENS = 220
"""What retrieval was measured with (docs/quality.md); the model itself takes 510."""
MIN_TOKENS = 60
"""A heading begins a new chunk only when the one before has this many tokens: tiny sections stay together."""
UNIT_CHARACTERS = 500
"""A block longer than this is cut into its sentences or rows before tokens are counted."""

HEADER_CHARACTERS = 2000
"""Of a table's header; wider ones are cut."""

TokenCounter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class Passage:
    """A chunk to be: ``text[start:end]`` of the document, in code points."""

    start: int
    end: int
    kind: str
    page: int | None
    headings: tuple[str, ...]
    token_count: int
    table_header: str = ""
    """The line that names the columns of the passage's table, wherever in the table the passage is."""


@dataclass(frozen=True)
class _Unit:
    """What is never cut: a sentence, a row, a short block."""

    start: int
    end: int
    kind: str
    page: int | None
    headings: tuple[str, ...]
    level: int | None = None
    tokens: int = 0
    header: str = ""


@dataclass
class _Draft:
    """The chunk that is being filled."""

    units: list[_Unit] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(unit.tokens for unit in self.units)

    def passage(self) -> Passage:
        body = [unit for unit in self.units if unit.kind != "heading"]
        first = (body or self.units)[0]
        header = next((unit.header for unit in self.units if unit.header), "")
        return Passage(
            self.units[0].start, self.units[-1].end, first.kind, self.units[0].page, first.headings, self.tokens, header
        )


def chunk(extraction: Extraction, language: str, count_tokens: TokenCounter) -> list[Passage]:
    """Cut a document into passages of at most MAX_TOKENS tokens, in the order of the text."""
    text = extraction.text
    units = list(_units(text, extraction.blocks, language))
    counts = count_tokens([text[unit.start : unit.end] for unit in units])
    fitting = [piece for unit, tokens in zip(units, counts, strict=True) for piece in _fitted(text, unit, tokens)]
    return [draft.passage() for draft in _packed(fitting)]


def _units(text: str, blocks: Sequence[Block], language: str) -> Iterator[_Unit]:
    path: list[tuple[int, str]] = []
    for block in blocks:
        if block.kind == "heading":
            level = block.level or 1
            path = [entry for entry in path if entry[0] < level]
            path.append((level, " ".join(text[block.start : block.end].strip("# \n").split())))
        headings = tuple(title for _, title in path)
        yield from _cut(text, block, headings, language)


def _cut(text: str, block: Block, headings: tuple[str, ...], language: str) -> Iterator[_Unit]:
    """A block as units: whole when short, else by rows (tables, lists, code) or by sentences."""
    if block.kind == "heading" or (block.end - block.start <= UNIT_CHARACTERS and block.kind != "table"):
        yield _Unit(block.start, block.end, block.kind, block.page, headings, block.level)
    elif block.kind in {"table", "list", "code"}:
        yield from _rows(text, block, headings)
    else:
        for start, end in sentences(text[block.start : block.end], language):
            yield _Unit(block.start + start, block.start + end, block.kind, block.page, headings)


def _rows(text: str, block: Block, headings: tuple[str, ...]) -> Iterator[_Unit]:
    position, header = block.start, ""
    for line in text[block.start : block.end].split("\n"):
        end = position + len(line)
        if line.strip():
            path = (*headings, header[:HEADING_CHARACTERS]) if header else headings
            if block.header and not header:
                header = " ".join(line.split())[:HEADER_CHARACTERS]
            yield _Unit(position, end, block.kind, block.page, path, header=header)
        position = end + 1


def _fitted(text: str, unit: _Unit, tokens: int) -> Iterator[_Unit]:
    """The unit with its count, cut at white space (or anywhere in unspaced scripts) if it alone is too long."""
    parts = -(-tokens // MAX_TOKENS) or 1
    width = -(-(unit.end - unit.start) // parts)
    start = unit.start
    while start < unit.end:
        end = min(start + width, unit.end)
        if end < unit.end:
            space = max(text.rfind(" ", start + width // 2, end), text.rfind("\n", start + width // 2, end))
            end = space + 1 if space > 0 else end
        share = max(1, tokens * (end - start) // (unit.end - unit.start))
        yield _Unit(start, end, unit.kind, unit.page, unit.headings, unit.level, share, unit.header)
        start = end


def _packed(units: Sequence[_Unit]) -> Iterator[_Draft]:
    draft = _Draft()
    for unit in units:
        if draft.units and _begins_new(draft, unit):
            yield draft
            draft = _Draft()
        draft.units.append(unit)
    if draft.units:
        yield draft


def _begins_new(draft: _Draft, unit: _Unit) -> bool:
    if unit.page != draft.units[-1].page:
        return True
    if unit.kind == "heading":
        return draft.tokens >= MIN_TOKENS
    only_headings = all(earlier.kind == "heading" for earlier in draft.units)
    return draft.tokens + unit.tokens > MAX_TOKENS and not (only_headings and unit.tokens <= MAX_TOKENS)
