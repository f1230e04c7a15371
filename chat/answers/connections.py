"""Database connections are few: they are given back before anything waits."""

from django.db import Error, connection

from ragsite.backends.away import PoolTimeout

DATABASE_AWAY = (Error, PoolTimeout)
"""What is raised when the database does not answer, or no connection to it became free in time."""


def release_connection() -> None:
    """Give this thread's connection back to the pool (or close it, without one), unless a transaction is open."""
    if not connection.in_atomic_block:
        connection.close()
