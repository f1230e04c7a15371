"""A sheet's cells as tables: a line a row, cut where rows are empty, without the columns that nobody filled."""

from collections.abc import Iterator
from typing import NamedTuple

from processing.extractors.blocks import TextBuilder

Rows = dict[int, dict[int, str]]
"""Filled cells by row and column, both counted from 1."""


class Merge(NamedTuple):
    """A cell that reaches over several rows of its column."""

    column: int
    first_row: int
    last_row: int


def add_rows(builder: TextBuilder, rows: Rows, merges: list[Merge]) -> None:
    """A sheet's tables into the text; lines of one cell above a table are paragraphs, like its name."""
    _fill_merged(rows, merges)
    for part in _parts(rows):
        while part and len(part[0]) == 1 and (len(part) == 1 or len(part[1]) > 1 or len(part[-1]) > 1):
            builder.add("paragraph", next(iter(part.pop(0).values())))
        columns = sorted({column for row in part for column in row})
        builder.add_table([[row.get(column, "") for column in columns] for row in part])


def _fill_merged(rows: Rows, merges: list[Merge]) -> None:
    """A cell merged downwards stands in each of its rows that has others."""
    for merge in merges:
        text = rows.get(merge.first_row, {}).get(merge.column)
        if text and merge.last_row - merge.first_row <= len(rows):
            for row in range(merge.first_row + 1, merge.last_row + 1):
                if row in rows:
                    rows[row].setdefault(merge.column, text)


def _parts(rows: Rows) -> Iterator[list[dict[int, str]]]:
    """Runs of rows without an empty one between them."""
    part: list[dict[int, str]] = []
    previous = 0
    for number in sorted(rows):
        if part and number > previous + 1:
            yield part
            part = []
        part.append(rows[number])
        previous = number
    if part:
        yield part
