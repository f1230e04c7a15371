"""Connections from a pool that the threads of a process share."""

from dj_db_conn_pool.backends.postgresql import base

from ragsite.backends.careful import ChangesCarefully
from ragsite.backends.lost import TellsLostConnections
from ragsite.backends.pinging import PingsWhereInDoubt
from ragsite.caching.writing import TellsChanges


class DatabaseWrapper(ChangesCarefully, TellsChanges, TellsLostConnections, base.DatabaseWrapper):
    """django-db-connection-pool's."""

    class SQLAlchemyDialect(PingsWhereInDoubt, base.DatabaseWrapper.SQLAlchemyDialect):
        """SQLAlchemy's, which knows how PostgreSQL is asked."""
