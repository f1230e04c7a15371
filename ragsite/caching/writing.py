"""How writers tell of a change: in the transaction, so that the commit can be put between bar and stamp."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.db.transaction import TransactionManagementError

from ragsite.caching import epoch, protocol
from ragsite.caching.protocol import RedisError

logger = logging.getLogger(__name__)


def changed(*things: str) -> None:
    """Say in a transaction what it changes (``DOCUMENT(owner=1, document=…)``), before or after the write."""
    connection: Any = transaction.get_connection()
    if not connection.in_atomic_block:
        raise TransactionManagementError("A change that is told outside a transaction would be told too late.")
    connection.changed_things.update(things)


@contextmanager
def changing(*things: str) -> Iterator[None]:
    """The same around a write that may be a transaction of its own."""
    with transaction.atomic():
        changed(*things)
        yield


class TellsChanges:
    """Put before a database backend's DatabaseWrapper: commits stand between bar and stamp of what they change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed_things: set[str] = set()

    def _commit(self) -> Any:
        things = sorted(self.changed_things)
        self.changed_things.clear()
        if not things:
            return super()._commit()  # type: ignore[misc]
        with announced(things):
            return super()._commit()  # type: ignore[misc]

    def _rollback(self) -> Any:
        self.changed_things.clear()
        return super()._rollback()  # type: ignore[misc]

    def _close(self) -> Any:
        self.changed_things.clear()
        return super()._close()  # type: ignore[misc]


@contextmanager
def announced(things: list[str]) -> Iterator[None]:
    """A commit. One that fails may have been done all the same: its bars stay until they lapse.

    Not so where the server has said that it was not done.
    """
    writer = protocol.token()
    known = _bar(writer, things)
    try:
        yield
    except (IntegrityError, DataError):
        _unbar(writer, known, things)
        raise
    _unbar(writer, known, things)


def _unbar(writer: str, known: str | None, things: list[str]) -> None:
    if known is None:
        return
    try:
        protocol.unbar(writer, known, things)
    except RedisError as error:
        logger.warning("bars in the cache stay until they lapse: %s", type(error).__name__)


def _bar(writer: str, things: list[str]) -> str | None:
    """The epoch that the bars stand in; None where the cache is suspended instead."""
    if epoch.is_suspended_here():
        return None
    try:
        known = epoch.view().epoch
        protocol.bar(writer, known, things)
    except RedisError as error:
        protocol.circuit.fail()
        logger.warning("the cache cannot be told of a change: %s", type(error).__name__)
        epoch.suspend()
        return None
    return known
