"""CSV and its relatives: a line a row, cells separated by `` | ``."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from mmap import mmap
from typing import Final

from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.plain_text import decode
from ragsite.extraction import Extraction, Limits

_DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_ROWS: Final = 200
_SAMPLE: Final = 64 * 1024


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The rows as one table; rows of unequal length keep all their cells."""
    text = decode(bytes(data), limits)
    csv.field_size_limit(limits.max_characters)
    rows = [list(map(clean, row)) for row in _read(text, _delimiter(text))]
    builder = TextBuilder(limits)
    builder.add_table(rows)
    return builder.finish()


def _read(text: str, delimiter: str) -> Iterable[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _delimiter(text: str) -> str:
    """The one that cuts most rows into the same number of cells, the more the better."""
    return max(_DELIMITERS, key=lambda delimiter: _evenness(text, delimiter))


def _evenness(text: str, delimiter: str) -> tuple[float, int]:
    widths = Counter(len(row) for row in islice(_read(text[:_SAMPLE], delimiter), _SAMPLE_ROWS) if row)
    if not widths:
        return (0.0, 0)
    width, rows = widths.most_common(1)[0]
    return (rows / widths.total() if width > 1 else 0.0, width)
