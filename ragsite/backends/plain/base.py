"""A connection for each thread."""

from django.db.backends.postgresql import base

from ragsite.backends.careful import ChangesCarefully
from ragsite.backends.lost import TellsLostConnections
from ragsite.caching.writing import TellsChanges


class DatabaseWrapper(ChangesCarefully, TellsChanges, TellsLostConnections, base.DatabaseWrapper):
    """Django's own."""
