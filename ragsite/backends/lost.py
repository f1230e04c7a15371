"""psycopg2 tells of some lost connections ("server closed the connection unexpectedly") by a bare DatabaseError.

Whoever catches OperationalError to wait for the database, or to answer 503, would take that for a fault of the site.
A server that takes no writes any more, because another one was promoted, is away as well: the connection is not used
again.
"""

from types import TracebackType
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg2.errors import ReadOnlySqlTransaction


class LostConnectionWrapper(DatabaseErrorWrapper):
    """Turns the driver's errors into Django's, as its base does, but for those of a lost connection."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ReadOnlySqlTransaction):
            self.wrapper.takes_no_writes = self.wrapper.errors_occurred = True  # type: ignore[attr-defined]
            raise OperationalError(*error.args) from error
        try:
            super().__exit__(kind, error, trace)
        except DatabaseError as raised:
            if type(raised) is not DatabaseError or getattr(error, "pgcode", None):
                raise  # the server itself has said what is wrong
            raise OperationalError(*raised.args) from error


class TellsLostConnections:
    """Put before a backend's DatabaseWrapper."""

    takes_no_writes = False

    def is_usable(self) -> bool:
        """Asked where a connection is kept and something went wrong on it."""
        return not self.takes_no_writes and bool(super().is_usable())  # type: ignore[misc]

    def _close(self) -> Any:
        if self.takes_no_writes and hasattr(self.connection, "invalidate"):  # type: ignore[attr-defined]
            self.connection.invalidate()  # type: ignore[attr-defined]  # else the pool would hand it out again
        self.takes_no_writes = False
        return super()._close()  # type: ignore[misc]

    @cached_property
    def wrap_database_errors(self) -> Any:
        return LostConnectionWrapper(self)
