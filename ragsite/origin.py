"""Which request this is: an id that logs, errors and answers carry, and when it came.

It goes along where work leaves the request: to the thread that writes an answer, into a task.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_TAKEN_OVER = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where work comes from."""

    id: str
    arrived: float
    """By ``time.monotonic``."""


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def begin(given: str = "") -> Origin:
    """A new request, or a task; ``given`` is an id that a proxy or a client has given it, if it looks like one."""
    identifier = given if _TAKEN_OVER.fullmatch(given) else secrets.token_hex(8)
    origin = Origin(identifier, time.monotonic())
    _current.set(origin)
    return origin


def current() -> Origin | None:
    return _current.get()


def here() -> Origin:
    """The present one; outside of any request one that begins now."""
    return _current.get() or Origin("", time.monotonic())


@contextmanager
def continued(origin: Origin) -> Iterator[None]:
    """Go on with it in another thread."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
