"""Outages of Valkey: what was kept before one is never read after it.

A writer that cannot put up its bars says so in the database, before it commits: it *suspends* the cache for some
seconds and gives it a new epoch, which is a part of the stamps' keys. Every process looks at that row before it uses
the cache, unless it has looked within the last SECONDS; the writer waits that long, once in an outage, until all know.
So it does not matter who is cut off from whom: whoever reads a value has seen the suspension of whoever changed it.
"""

import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from django.db import connection

logger = logging.getLogger(__name__)

SECONDS = 0.5
"""How long a process may go by what it has seen of the row."""
SUSPENDED_SECONDS = 30
RENEWED_AT_SECONDS = 15
"""So much must be left of a suspension for a commit to rely on it."""

SEEN = "SELECT epoch::text, suspended_until > statement_timestamp() FROM caching_epoch"
BEGIN = """
INSERT INTO caching_epoch (id, epoch, suspended_until) VALUES (1, gen_random_uuid(), '-infinity') ON CONFLICT DO NOTHING
"""
SUSPEND = f"""
INSERT INTO caching_epoch (id, epoch, suspended_until)
VALUES (1, gen_random_uuid(), statement_timestamp() + interval '{SUSPENDED_SECONDS} seconds')
ON CONFLICT (id) DO UPDATE SET epoch = EXCLUDED.epoch, suspended_until = EXCLUDED.suspended_until
"""  # noqa: S608  (a constant of this module)


@dataclass(frozen=True)
class View:
    """The row as it was at a time of the monotonic clock."""

    epoch: str
    suspended: bool
    at: float


_lock = threading.Lock()
_seen: View | None = None
_suspended_until = 0.0
"""By the monotonic clock: until when this process's own suspension holds."""


def view() -> View:
    """What the row says, as it was seen at most SECONDS ago. Raises the database's errors."""
    global _seen
    seen = _seen
    if seen is None or time.monotonic() - seen.at > SECONDS:
        seen = _seen = _read()
    return seen


def _read() -> View:
    at = time.monotonic()  # before the statement: what is seen is not older
    with connection.cursor() as cursor:
        cursor.execute(SEEN)
        row = cursor.fetchone()
        if row is None:
            _execute(BEGIN)
            cursor.execute(SEEN)
            row = cursor.fetchone()
    return View(row[0], row[1], at)


def is_suspended_here() -> bool:
    """Whether a suspension by this process holds long enough for a commit."""
    return _suspended_until - time.monotonic() > RENEWED_AT_SECONDS


def suspend() -> None:
    """Have nobody use the cache; returns when all know."""
    global _suspended_until, _seen
    with _lock:
        if is_suspended_here():
            return
        goes_on = _suspended_until > time.monotonic()
        at = time.monotonic()
        _execute(SUSPEND)
        _suspended_until, _seen = at + SUSPENDED_SECONDS, None
        logger.warning("the cache is not used for %s s: a change could not be told to it", SUSPENDED_SECONDS)
        if not goes_on:
            time.sleep(SECONDS)


def _execute(statement: str) -> None:
    """On a connection of its own, so that no transaction of the caller's holds the row. Raises Django's errors.

    The driver's would pass by `transaction.atomic`, which is at its commit: a server that takes no new connections, as
    PostgreSQL while it waits for the old ones to end, was a fault of the site then.
    """
    with connection.wrap_database_errors, closing(psycopg2.connect(**connection.get_connection_params())) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute(statement)


def forget() -> None:
    """Look anew."""
    global _seen, _suspended_until
    _seen, _suspended_until = None, 0.0
