"""A worker's threads keep their connections from task to task.

Celery closes them after each. A connection costs PostgreSQL a process that first has to learn the schema, the
dictionaries of a language and pgvector, and both sides the password's exchange: some 15 ms of processor time for each
document (docs/decisions/0029-kept-connections.md).
"""

from typing import Any

from celery.signals import task_postrun, task_prerun
from django.db import DEFAULT_DB_ALIAS, connections

MOST_SECONDS = 300
"""A connection's age after which it is made anew: what its process has gathered in memory goes with it."""


def keep_connections() -> None:
    """In this process, from now on; those to other servers than the first one are closed after each task as before."""
    connections.settings[DEFAULT_DB_ALIAS]["CONN_MAX_AGE"] = MOST_SECONDS
    for moment in (task_prerun, task_postrun):
        moment.connect(_close_what_is_old, dispatch_uid="ragsite.backends.kept")


def _close_what_is_old(**_: Any) -> None:
    """Old, lost, or in doubt after an error; the others are tried before they are used again."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
