"""psycopg2 tells of some lost connections ("server closed the connection unexpectedly") by a bare DatabaseError.

Whoever catches OperationalError to wait for the database, or to answer 503, would take that for a fault of the site.
"""

from types import TracebackType
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property


class LostConnectionWrapper(DatabaseErrorWrapper):
    """Turns the driver's errors into Django's, as its base does, but for those of a lost connection."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        except DatabaseError as raised:
            if type(raised) is not DatabaseError or getattr(error, "pgcode", None):
                raise  # the server itself has said what is wrong
            raise OperationalError(*raised.args) from error


class TellsLostConnections:
    """Put before a backend's DatabaseWrapper."""

    @cached_property
    def wrap_database_errors(self) -> Any:
        return LostConnectionWrapper(self)
