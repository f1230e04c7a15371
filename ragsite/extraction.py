"""What reading a file gives: the text with its pages and blocks, the limits it ran under, and why a file is refused.

Plain data, free of Django and of every parser: the sandbox fills it in, the rest of the site reads it.
All offsets are code points into ``Extraction.text``, end exclusive.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

BlockKind = Literal["heading", "paragraph", "list", "table", "code"]
PageKind = Literal["page", "slide", "sheet", "part"]
"""What a format's pages are to people: a part is a chapter of a book or an attachment of a message."""
RefusalCode = Literal[
    "encrypted",
    "empty",
    "broken",
    "unsupported",
    "no_text",
    "too_many_pages",
    "too_large",
    "timeout",
    "out_of_memory",
]

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLS = "application/vnd.ms-excel"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
RTF = "application/rtf"
EPUB = "application/epub+zip"
EML = "message/rfc822"
MSG = "application/vnd.ms-outlook"
JSON = "application/json"
JSON_LINES = "application/jsonl"
HTML = "text/html"
PNG, JPEG, WEBP, TIFF, GIF, BMP = (f"image/{name}" for name in ("png", "jpeg", "webp", "tiff", "gif", "bmp"))
PICTURES = (PNG, JPEG, WEBP, TIFF, GIF, BMP)
MARKDOWN = "text/markdown"
CSV = "text/csv"
PLAIN_TEXT = "text/plain"


class SeekableFile(Protocol):
    """An open binary file: Python's own, or Django's around one that may be kept elsewhere."""

    def read(self, size: int = ..., /) -> bytes: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class ExtractionRefused(Exception):
    """The file cannot be read, and trying again will not help.

    ``code`` is for programs, ``detail`` a sentence for the person who uploaded the file.
    """

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.code: RefusalCode = code
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """What reading one file may cost."""

    cpu_seconds: int = 120
    wall_seconds: float = 180.0
    memory_bytes: int = 1_500_000_000
    max_pages: int = 5_000
    max_characters: int = 20_000_000


@dataclass(frozen=True)
class Page:
    """A page counts from 1; ``label`` is the number printed on it where that differs (``iv``, ``A-3``), or the name of
    a sheet, a chapter or an attachment."""

    number: int
    start: int
    end: int
    label: str | None = None


@dataclass(frozen=True)
class Block:
    """A piece of structure.

    A table has a row on each line; ``header`` says that its first line is known to name the columns. Cells are
    separated by `` | `` where the format knows them (in a PDF they are only words on a line).
    """

    kind: BlockKind
    start: int
    end: int
    level: int | None = None
    page: int | None = None
    header: bool = False


@dataclass(frozen=True)
class Extraction:
    """A file's text. ``blocks`` lie in order, do not overlap and leave out nothing but white space."""

    text: str
    pages: list[Page] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    title: str | None = None
    page_count: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    page_kind: PageKind = "page"
    warnings: list[str] = field(default_factory=list)
    """Sentences about what the file holds and could not be read: an attachment, scanned pages among others."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Extraction":
        """The reverse of :meth:`as_json`. Raises KeyError or TypeError when a field is wrong."""
        if not isinstance(data["text"], str):
            raise TypeError("the text is no text")
        pages = [Page(**page) for page in data["pages"]]
        blocks = [Block(**block) for block in data["blocks"]]
        return cls(**{**data, "pages": pages, "blocks": blocks})


@dataclass(frozen=True)
class Box:
    """A rectangle on a page's picture: fractions (0 to 1) of its width and height from the top left corner."""

    left: float
    top: float
    right: float
    bottom: float
