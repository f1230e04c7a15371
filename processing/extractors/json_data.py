"""JSON and JSON Lines as lines that read: ``address.city: Köln``; a list of alike records is a table."""

import json
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Final

from processing.extractors import plain_text
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.plain_text import decode
from ragsite.extraction import Extraction, Limits

_TITLES: Final = ("title", "name", "headline", "subject")
_TABLE_COLUMNS: Final = 30
_CELL: Final = 200
_LONG: Final = 500
_MOST_DAMAGED: Final = 0.1


class _Object(list[tuple[str, Any]]):
    """An object as its pairs in order, those with the same key too; told apart from a list of values."""


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """One value. What is no proper JSON is read as the text that it is."""
    text = decode(bytes(data), limits)
    try:
        content = json.loads(text, object_pairs_hook=_Object)
    except ValueError:
        return _extract_lines(text, data, limits, report)
    builder = TextBuilder(limits)
    _add(builder, content)
    return builder.finish(_title(content))


def extract_lines(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """A value a line."""
    return _extract_lines(decode(bytes(data), limits), data, limits, report)


def _extract_lines(text: str, data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    records = [_parsed(line) for line in text.splitlines() if line.strip()]
    broken = sum(isinstance(record, str) for record in records)
    if not records or broken > _MOST_DAMAGED * len(records):
        return plain_text.extract(data, limits, report)
    builder = TextBuilder(limits)
    if _is_table(records):
        _add(builder, records)
    else:
        _add_records(builder, records)
    return builder.finish()


def _parsed(line: str) -> Any:
    """The line's value; a damaged line is its text."""
    try:
        return json.loads(line, object_pairs_hook=_Object)
    except ValueError:
        return line


def _title(content: Any) -> str | None:
    pairs = dict(content) if isinstance(content, _Object) else {}
    return next(
        (clean(pairs[key])[:300] for key in _TITLES if isinstance(pairs.get(key), str) and pairs[key].strip()), None
    )


def _add(builder: TextBuilder, content: Any, path: str = "") -> None:
    """A value into the text: lists of records by themselves, all else as lines that begin with their keys."""
    if isinstance(content, _Object):
        _add_object(builder, content, path)
    elif _is_table(content):
        columns = list(dict.fromkeys(key for record in content for key, _ in record))
        rows = [[clean(_shown(dict(record).get(column))) for column in columns] for record in content]
        builder.add_table([columns, *rows], header=True)
    elif _is_records(content):
        _add_records(builder, content)
    else:
        builder.add("list", "\n".join(_lines(content, path)))


def _add_records(builder: TextBuilder, records: list[Any]) -> None:
    for record in records:
        if isinstance(record, _Object):
            _add_object(builder, record, "")
        else:
            builder.add("list", "\n".join(_lines(record, "")))


def _add_object(builder: TextBuilder, content: _Object, path: str) -> None:
    lines: list[str] = []
    for key, value in content:
        inner = f"{path}.{key}" if path else clean(key)
        if _is_records(value):
            builder.add("list", "\n".join(lines))
            lines = []
            builder.add("heading", inner, min(inner.count(".") + 1, 6))
            _add(builder, value, inner)
        elif isinstance(value, str) and len(value) > _LONG:
            builder.add("list", "\n".join(lines))
            lines = []
            builder.add("paragraph", "\n".join(filter(None, map(clean, f"{inner}: {value}".split("\n")))))
        else:
            lines += _lines(value, inner)
    builder.add("list", "\n".join(lines))


def _is_records(value: Any) -> bool:
    """A list of two objects or more."""
    return (
        isinstance(value, list)
        and not isinstance(value, _Object)
        and len(value) > 1
        and all(isinstance(entry, _Object) for entry in value)
    )


def _is_table(value: Any) -> bool:
    """Records of few, short, simple values: a line each says more than a paragraph each."""
    if not _is_records(value) or len({key for record in value for key, _ in record}) > _TABLE_COLUMNS:
        return False
    return all(_is_cell(entry) for record in value for _, entry in record)


def _is_cell(value: Any) -> bool:
    return not isinstance(value, list) and len(_shown(value)) <= _CELL


def _lines(value: Any, path: str) -> Iterator[str]:
    """``path: value`` for each simple value; a list of simple values is one line."""
    if isinstance(value, _Object):
        for key, inner in value:
            yield from _lines(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(entry, list) for entry in value):
        for number, inner in enumerate(value, 1):
            yield from _lines(inner, f"{path}[{number}]")
    else:
        text = ", ".join(map(_shown, value)) if isinstance(value, list) else _shown(value)
        if text:
            yield clean(f"{path}: {text}" if path else text)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
