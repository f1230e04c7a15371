"""On which server a thread reads at the moment: the primary, unless ``reading.read`` has chosen a replica."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

APPS = frozenset({"documents", "chat"})
"""Whose rows may come from a replica; never accounts, tokens, sessions, idempotency keys, or the cache's epoch,"""
NEVER = frozenset({"documents.rate", "documents.partialupload"})
"""nor what the queue goes by, and uploads on their way in."""

_alias: ContextVar[str] = ContextVar("read_alias", default=DEFAULT_DB_ALIAS)


def read_alias() -> str:
    """Where reads go that a replica may serve. Inside a transaction they go where its writes are."""
    alias = _alias.get()
    if alias != DEFAULT_DB_ALIAS and connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return DEFAULT_DB_ALIAS
    return alias


def read_connection() -> Any:
    """In place of ``django.db.connection``, for statements that a replica may serve."""
    return connections[read_alias()]


@contextmanager
def reading_from(alias: str) -> Iterator[None]:
    """Have this thread's reads of APPS go there. The connection is given back to the pool at the end."""
    token = _alias.set(alias)
    try:
        yield
    finally:
        _alias.reset(token)
        connections[alias].close()


@contextmanager
def on_primary() -> Iterator[None]:
    """Around what must not come from a replica: what is about to be kept in the cache."""
    token = _alias.set(DEFAULT_DB_ALIAS)
    try:
        yield
    finally:
        _alias.reset(token)


class ReplicaRouter:
    """Django's: all writes, and whatever is read outside ``reading_from``, go to the primary.

    It answers always. Where a router has no opinion Django takes the server that a row was loaded from, and would write
    to a replica.
    """

    def db_for_read(self, model: type[Model], **_hints: Any) -> str:
        options = model._meta
        return read_alias() if options.app_label in APPS and options.label_lower not in NEVER else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **_hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **_hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS
