"""Statements that need a strong lock: asked for briefly and again, so that nobody waits long behind them."""

import time
from collections.abc import Callable, Iterable

from django.db import OperationalError, connection, transaction

LOCK_MILLISECONDS = 200
"""For each lock; all that one transaction takes together stay below PostgreSQL's deadlock_timeout of a second: it is
always this side that gives way, never a request of the site."""
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
GIVEN_UP_AFTER = 300
"""Seconds."""
NOT_NOW = {"55P03", "40P01", "55006"}
"""lock_not_available, deadlock_detected, object_in_use."""


class Busy(Exception):
    """The lock could not be had in all the time."""


def briefly_locked(
    statements: Iterable[str], first: Iterable[str] = (), check: Callable[[], None] = lambda: None
) -> int:
    """Run the statements in one transaction, again and again until their locks are free. Returns how many tries.

    ``first`` are locks that stop nobody, waited for at length. ``check`` is called with the locks of the first of the
    statements held. Raises Busy.
    """
    statements, first, deadline, tries = list(statements), list(first), time.monotonic() + GIVEN_UP_AFTER, 0
    while True:
        tries += 1
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                _run(cursor, statements, first, check)
            return tries
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", None) not in NOT_NOW:
                raise
            if time.monotonic() > deadline:
                raise Busy(str(error).strip().splitlines()[0]) from error
        time.sleep(PAUSES[min(tries, len(PAUSES)) - 1])


def _run(cursor: object, statements: list[str], first: list[str], check: Callable[[], None]) -> None:
    execute = cursor.execute  # type: ignore[attr-defined]
    if first:
        execute("SET LOCAL lock_timeout = '20s'")
        for statement in first:
            execute(statement)
    execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    for number, statement in enumerate(statements):
        execute(statement)
        if number == 0:
            check()
