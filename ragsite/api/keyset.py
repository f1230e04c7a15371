"""Pages by keyset: a page starts after the last row of the one before, so deep pages cost what the first one costs.

An ordering is a tuple of field names or expressions (``"-uploaded_at"``, ``Lower("filename")``,
``Lower("filename").desc()``) whose last one is unique. Where all go the same way, the condition is a row comparison,
``(uploaded_at, id) < (x, y)``, which PostgreSQL answers from a composite index alone.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Expression, F, Model, Q, QuerySet, Value
from django.db.models.expressions import Col, OrderBy
from django.db.models.fields.tuple_lookups import (
    Tuple,
    TupleGreaterThan,
    TupleGreaterThanOrEqual,
    TupleLessThan,
    TupleLessThanOrEqual,
)
from django.db.models.functions import Lower, Upper

from ragsite.api.sifting import first_rows

Ordering = Sequence[str | Expression | F]

SALT = "ragsite.api.keyset"
ROW_LOOKUPS = {
    (False, False): TupleGreaterThan,
    (False, True): TupleGreaterThanOrEqual,
    (True, False): TupleLessThan,
    (True, True): TupleLessThanOrEqual,
}
"""(descending, inclusive) → the comparison of whole rows."""


class InvalidCursor(ValueError):
    """The cursor is broken, forged, or belongs to another ordering."""


@dataclass(frozen=True)
class Page:
    """The rows of one page; a cursor is None where there is no further page that way.

    A page of a list that is sifted may hold fewer than were wanted, even none, while more follow.
    """

    items: list[Any]
    next_cursor: str | None
    previous_cursor: str | None


@dataclass(frozen=True)
class Key:
    """One column of an ordering. NULLs stand where PostgreSQL puts them: last ascending, first descending."""

    name: str
    descending: bool
    nullable: bool
    field: Any

    def reversed(self) -> "Key":
        return Key(self.name, not self.descending, self.nullable, self.field)

    def order_by(self) -> OrderBy:
        return OrderBy(F(self.name), descending=self.descending)

    def equals(self, value: Any) -> Q:
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def beyond(self, value: Any) -> Q | None:
        """What comes after the value; None if nothing can."""
        if value is None:
            return Q(**{f"{self.name}__isnull": False}) if self.descending else None
        condition = Q(**{f"{self.name}__{'lt' if self.descending else 'gt'}": value})
        if self.nullable and not self.descending:
            condition |= Q(**{f"{self.name}__isnull": True})
        return condition


@dataclass(frozen=True)
class Position:
    """Where a page starts: at a row's values, forwards or backwards, that row included or not."""

    values: list[Any]
    backwards: bool = False
    inclusive: bool = False


def keyset_page(queryset: QuerySet[Any], ordering: Ordering, cursor: str | None, page_size: int) -> Page:
    """One page of the queryset, in one query (one that is sifted: in up to three). Raises InvalidCursor."""
    queryset, keys = _resolved(queryset, ordering)
    start = read_cursor(cursor, keys) if cursor else None
    backwards = start is not None and start.backwards
    towards = [key.reversed() for key in keys] if backwards else keys
    if start:
        queryset = queryset.filter(_from(towards, start))
    ordered = queryset.order_by(*[key.order_by() for key in towards])
    stretch = first_rows(ordered, page_size + 1, [key.name for key in keys])
    more = len(stretch.rows) > page_size
    rows = stretch.rows[:page_size]
    if backwards:
        rows.reverse()
    page = _page(rows, keys, start, more)
    return page if stretch.end is None else _further(page, keys, Position(stretch.end, backwards))


def _further(page: Page, keys: list[Key], end: Position) -> Page:
    """Sifting ended before the page was full: it goes on from there."""
    cursor = write_cursor(end, keys)
    return replace(page, previous_cursor=cursor) if end.backwards else replace(page, next_cursor=cursor)


def _page(rows: list[Any], keys: list[Key], start: Position | None, more: bool) -> Page:
    backwards = start is not None and start.backwards
    has_next, has_previous = (True, more) if backwards else (more, start is not None)
    if rows:
        after = Position(_values(rows[-1], keys))
        before = Position(_values(rows[0], keys), backwards=True)
    else:  # all rows here were deleted meanwhile: the way back includes the row that the cursor was made of
        values = start.values if start else []
        after, before = Position(values, inclusive=True), Position(values, backwards=True, inclusive=True)
    return Page(
        rows,
        write_cursor(after, keys) if has_next and (rows or backwards) else None,
        write_cursor(before, keys) if has_previous else None,
    )


def _resolved(queryset: QuerySet[Any], ordering: Ordering) -> tuple[QuerySet[Any], list[Key]]:
    """The queryset, annotated with the ordering's expressions, and the ordering's columns."""
    keys = []
    for position, part in enumerate(ordering):
        name, descending = f"_keyset_{position}", False
        if isinstance(part, str):
            name, descending = part.removeprefix("-"), part.startswith("-")
        else:
            expression = part.expression if isinstance(part, OrderBy) else part
            descending = isinstance(part, OrderBy) and part.descending
            queryset = queryset.annotate(**{name: expression})
        source = queryset.query.chain().resolve_ref(name)
        keys.append(Key(name, descending, _nullable(source, queryset.query.get_initial_alias()), source.output_field))
    return queryset, keys


def _nullable(source: Any, table: str | None) -> bool:
    """Whether an expression may be NULL; True where that cannot be told."""
    if isinstance(source, Col):
        return source.target.null or source.alias != table
    if isinstance(source, Lower | Upper):
        return any(_nullable(part, table) for part in source.get_source_expressions())
    return True


def _from(keys: list[Key], start: Position) -> Any:
    """The condition that holds for the rows from this position on, in the order of the keys."""
    one_way = len({key.descending for key in keys}) == 1
    nulls_follow = any(key.nullable and not key.descending for key in keys)
    if one_way and not nulls_follow and None not in start.values:
        lookup = ROW_LOOKUPS[keys[0].descending, start.inclusive]
        values = [Value(value, output_field=key.field) for key, value in zip(keys, start.values, strict=True)]
        return lookup(Tuple(*[F(key.name) for key in keys]), values)
    return _spelled_out(keys, start)


def _spelled_out(keys: list[Key], start: Position) -> Q:
    """``a > x OR (a = x AND b < y) …``: for mixed directions and NULLs, with a bound on ``a`` that an index can use."""
    same, cases = Q(), []
    for key, value in zip(keys, start.values, strict=True):
        beyond = key.beyond(value)
        if beyond is not None:
            cases.append(same & beyond)
        same &= key.equals(value)
    if start.inclusive:
        cases.append(same)
    first = keys[0].beyond(start.values[0])
    bound = keys[0].equals(start.values[0])
    return ((first | bound) if first is not None else bound) & reduce(or_, cases, Q(pk__in=[]))


def _values(row: Model, keys: list[Key]) -> list[Any]:
    return [getattr(row, key.name) for key in keys]


def write_cursor(position: Position, keys: list[Key]) -> str:
    """The position as an opaque, signed string."""
    mode = ("b" if position.backwards else "f") + ("i" if position.inclusive else "")
    values = [_plain(value) for value in position.values]
    return signing.dumps([_fingerprint(keys), mode, values], salt=SALT)


def read_cursor(cursor: str, keys: list[Key]) -> Position:
    """Raises InvalidCursor when it was not made here, or for another ordering."""
    try:
        fingerprint, mode, values = signing.loads(cursor, salt=SALT)
        parsed = [None if raw is None else key.field.to_python(raw) for key, raw in zip(keys, values, strict=True)]
    except (signing.BadSignature, ValidationError, TypeError, ValueError) as error:
        raise InvalidCursor("The cursor is not valid here.") from error
    if fingerprint != _fingerprint(keys):
        raise InvalidCursor("The cursor belongs to another ordering.")
    return Position(parsed, backwards="b" in mode, inclusive="i" in mode)


def _fingerprint(keys: list[Key]) -> str:
    text = ",".join(f"{key.name} {key.field.__class__.__name__} {key.descending}" for key in keys)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    """A value that JSON can carry without loss (Django's encoder cuts microseconds)."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID | Decimal) else value
