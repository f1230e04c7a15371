"""Databases that tests make beside the one of pytest-django."""

import time

import psycopg2
from psycopg2.extensions import cursor as Cursor

ATTEMPTS, PAUSE = 100, 0.1


def drop_database(cursor: Cursor, name: str) -> None:
    """Gone, whoever is connected.

    ``FORCE`` would end autovacuum's worker as well, which has no role, so that a superuser alone may end it: that one
    is waited for.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        except psycopg2.errors.InsufficientPrivilege:
            if attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE)
