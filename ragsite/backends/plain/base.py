"""A connection for each thread."""

from django.db.backends.postgresql import base

from ragsite.backends.lost import TellsLostConnections
from ragsite.caching.writing import TellsChanges


class DatabaseWrapper(TellsChanges, TellsLostConnections, base.DatabaseWrapper):
    """Django's own."""
