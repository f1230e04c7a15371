"""What is raised when no connection of the pool becomes free in time.

Where there is no pool (in workers) its library is not read: that is 10 MB of each process.
"""

from django.conf import settings

if settings.DATABASE_POOL:
    from sqlalchemy.exc import TimeoutError as PoolTimeout  # of django-db-connection-pool
else:

    class PoolTimeout(Exception):  # type: ignore[no-redef]
        """Never raised."""


__all__ = ["PoolTimeout"]
