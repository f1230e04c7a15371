"""Statements of the hottest paths, as text: Django needs five times as long to compile them as the server to run them.

What they read is all columns of a model, taken from the model itself, so that none can be forgotten.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models, transaction

from ragsite.caching import changing
from ragsite.caching.writing import announced

M = TypeVar("M", bound=models.Model)
TOGETHER = ";\n"
"""Between statements that go to the server in one message: where no transaction is open, they are one."""


def columns(model: type[models.Model], alias: str) -> str:
    """All of the model's, in the order in which ``instance`` takes their values."""
    quote = connection.ops.quote_name
    return ", ".join(f"{alias}.{quote(str(field.column))}" for field in model._meta.concrete_fields)


def instance(model: type[M], values: Sequence[Any]) -> M:
    """The row as Django would give it. Only for models whose values need no conversion (no JSON among them)."""
    return model.from_db(DEFAULT_DB_ALIAS, _names(model), values)


@cache
def _names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def row_of(sql: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
    """The first row, from the primary."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: tuple[Any, ...] | None = cursor.fetchone()
        return found


@contextmanager
def changing_at_once(*things: str) -> Iterator[None]:
    """Around a single ``execute``, which may hold statements TOGETHER; the cache is told as by ``changing``.

    Outside a transaction that saves the round trips of BEGIN and COMMIT: the server makes a transaction of one message.
    """
    if transaction.get_connection().in_atomic_block:
        with changing(*things):
            yield
        return
    with announced(sorted(things)):
        yield
