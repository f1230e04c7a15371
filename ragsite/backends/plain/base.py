"""A connection for each thread."""

from django.db.backends.postgresql import base

from ragsite.backends.lost import TellsLostConnections


class DatabaseWrapper(TellsLostConnections, base.DatabaseWrapper):
    """Django's own."""
