"""Lists that only a test of each row can narrow, as a search for words that many rows hold.

A page looks at a stretch of the list in its order, of a length that is stated, and says where the stretch ended: it may
hold fewer rows than were wanted, even none, while more follow. All pages together are complete and in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Sieve:
    """``condition`` is SQL about a row called ``sifted``; ``most`` is how many rows a page looks at."""

    condition: str
    params: Sequence[Any]
    most: int


class SiftedQuerySet(QuerySet[M]):
    """What is filtered and ordered as ever; the sieve is applied where it is paged."""

    sieve: Sieve | None = None

    def sifted(self, sieve: Sieve) -> Self:
        found = self._chain()  # type: ignore[attr-defined]
        found.sieve = sieve
        return found

    def _clone(self) -> Self:
        found = super()._clone()  # type: ignore[misc]
        found.sieve = self.sieve
        return found


@dataclass(frozen=True)
class Stretch:
    """Rows that were found, and where looking for more ended; None where the list itself has ended."""

    rows: list[Any]
    end: list[Any] | None


def first_rows(ordered: QuerySet[Any], wanted: int, keys: Sequence[str] = ()) -> Stretch:
    """So many rows of an ordered queryset; ``keys`` names what it is ordered by, where going on is wanted."""
    sieve = getattr(ordered, "sieve", None)
    if sieve is None:
        return Stretch(list(ordered[:wanted]), None)
    ids = _passing(ordered, sieve, wanted)
    rows = list(ordered.filter(pk__in=ids)) if ids else []
    return Stretch(rows, None if len(ids) == wanted or not keys else _end(ordered, sieve, keys))


def _passing(ordered: QuerySet[Any], sieve: Sieve, wanted: int) -> list[Any]:
    """The sub-query keeps its order, so that no row is tested beyond the last one that is wanted."""
    inner, params = ordered[: sieve.most].query.sql_with_params()
    name = ordered.model._meta.pk.column
    sql = f"SELECT sifted.{name} FROM ({inner}) sifted WHERE {sieve.condition} LIMIT %s"  # noqa: S608
    with connections[ordered.db].cursor() as cursor:
        cursor.execute(sql, [*params, *sieve.params, wanted])
        return [row[0] for row in cursor.fetchall()]


def _end(ordered: QuerySet[Any], sieve: Sieve, keys: Sequence[str]) -> list[Any] | None:
    """Of the columns that it is ordered by alone, which the index holds."""
    last = ordered.prefetch_related(None).values_list(*keys)[sieve.most - 1 : sieve.most]
    return next(map(list, last), None)
