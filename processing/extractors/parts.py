"""Files within a file: an attachment's text under a heading with its name, or a sentence that it was not read."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Final

from documents.sniffing import HEAD_BYTES, UnsupportedFormat, sniff
from processing.extractors.blocks import Report, TextBuilder, clean
from ragsite.extraction import Extraction, ExtractionRefused, Limits

Extractor = Callable[[mmap | bytes, Limits, Report], Extraction]

_DEEPEST: Final = 5
_MOST: Final = 500


@dataclass(frozen=True)
class PartReader:
    """Reads the parts of one file, and the parts of these; all together are held to the limits."""

    limits: Limits
    extractors: Mapping[str, Extractor]
    containers: Mapping[str, "ContainerExtractor"]
    depth: int = 0
    _read_ones: list[str] = field(default_factory=list)
    """The names of all parts at all depths: shared with those below."""

    def deeper(self) -> "PartReader":
        return replace(self, depth=self.depth + 1)

    def add(self, builder: TextBuilder, name: str, data: bytes) -> None:
        """A part's text as a page of its own; what cannot be read is named."""
        self.add_read(builder, name, lambda: self._read(name, data))

    def add_read(self, builder: TextBuilder, name: str, read: Callable[[], Extraction]) -> None:
        """What ``read`` gives, as a page of its own."""
        self._read_ones.append(name)
        if self.depth >= _DEEPEST or len(self._read_ones) > _MOST:
            self.tell_unread(builder, name, "It is nested too deeply, or there are too many of them.")
            return
        try:
            extraction = read()
        except (ExtractionRefused, UnsupportedFormat) as refusal:
            self.tell_unread(builder, name, refusal.detail)
            return
        _begin(builder, name)
        builder.add_extraction(extraction)

    def tell_unread(self, builder: TextBuilder, name: str, reason: str) -> None:
        """Name a part that is not read, in the text and to people."""
        label = _begin(builder, name)
        builder.add("paragraph", f"[{label} was not read. {reason}]")
        builder.warn(f"The attachment {label} was not read. {reason}")

    def read_inner(self, kind: str, data: bytes) -> Extraction:
        """A part of a known kind. Raises ExtractionRefused."""
        if kind in self.containers:
            return self.containers[kind](data, self.limits, _unheard, self.deeper())
        if not data:
            raise ExtractionRefused("empty", "It is empty.")
        return self.extractors[kind](data, self.limits, _unheard)

    def _read(self, name: str, data: bytes) -> Extraction:
        return self.read_inner(sniff(data[:HEAD_BYTES], io.BytesIO(data), name), data)


ContainerExtractor = Callable[[mmap | bytes, Limits, Report, PartReader], Extraction]
"""Reads a kind of file that holds others."""


def _begin(builder: TextBuilder, name: str) -> str:
    label = clean(name)[:200] or "unnamed"
    builder.begin_page(label)
    builder.add("heading", label, 1)
    return label


def _unheard(fraction: float, pages: int | None) -> None:
    """Parts are too small to tell how far they are."""
