"""Excel's old workbooks (.xls), and the binary ones (.xlsb), with calamine: the cells of all sheets, hidden ones too.

Comments, text boxes and charts are not in what it reads.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from mmap import mmap
from typing import Any, Final

import python_calamine as calamine

from processing.extractors.archive import DAMAGED, ENCRYPTED
from processing.extractors.blocks import Report, TextBuilder, clean, refuse_too_long
from processing.extractors.cell_values import plain_number
from processing.extractors.sheets import Merge, Rows, add_rows
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_LOST: Final = "Comments, text boxes and charts of this old Excel format are not read. Save it as .xlsx to have them."


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """All sheets in their order."""
    with _refusals():
        return _read(calamine.load_workbook(io.BytesIO(bytes(data))), limits, report)


def _read(workbook: calamine.CalamineWorkbook, limits: Limits, report: Report) -> Extraction:
    builder = TextBuilder(limits)
    for index, entry in enumerate(workbook.sheets_metadata, 1):
        hidden = "" if entry.visible == calamine.SheetVisibleEnum.Visible else " (hidden)"
        label = clean(entry.name)[:200] + hidden
        builder.begin_page(label)
        builder.add("heading", label, 1)
        if entry.typ == calamine.SheetTypeEnum.WorkSheet:
            sheet = workbook.get_sheet_by_name(entry.name)
            add_rows(builder, _rows(sheet, limits), _merges(sheet))
        report(index / len(workbook.sheets_metadata), index)
    builder.warn(_LOST)
    return builder.finish(page_kind="sheet")


@contextmanager
def _refusals() -> Iterator[None]:
    """The library's errors as refusals. When it stumbles over a damaged file its panic is no Exception."""
    try:
        yield
    except calamine.PasswordError as error:
        raise ExtractionRefused("encrypted", ENCRYPTED) from error
    except (calamine.CalamineError, OSError) as error:
        raise ExtractionRefused("broken", DAMAGED) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ExtractionRefused("broken", DAMAGED) from error


def _rows(sheet: calamine.CalamineSheet, limits: Limits) -> Rows:
    rows: Rows = {}
    length = 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = {column: text for column, value in enumerate(row, 1) if (text := _shown(value))}
        if cells:
            rows[number] = cells
            length += sum(map(len, cells.values()))
            refuse_too_long(length, limits)
    return rows


def _merges(sheet: calamine.CalamineSheet) -> list[Merge]:
    return [Merge(first[1] + 1, first[0] + 1, last[0] + 1) for first, last in sheet.merged_cell_ranges or []]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    if isinstance(value, date | time | timedelta):
        return str(value)
    return clean(str(value))
