"""Whether a connection of the pool still lives, asked where it may not.

A server that ends says so on the socket: who has heard nothing from it need not ask. What dies without a word (a
machine, a network) is found by a question once in a while. The pool's own way, a `SELECT 1` for each use, was five
statements an answer.
"""

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

SECONDS = 1.0
"""For how long a connection that has answered is taken to live, as long as its socket is silent."""

_answered: "WeakKeyDictionary[Any, float]" = WeakKeyDictionary()
"""When each connection of this process answered last, by the monotonic clock."""


class PingsWhereInDoubt:
    """Put before a dialect of SQLAlchemy's, which its pool asks."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        now = time.monotonic()
        if now - _answered.get(dbapi_connection, -SECONDS) < SECONDS and not _has_news(dbapi_connection):
            return True
        alive: bool = super().do_ping(dbapi_connection)  # type: ignore[misc]
        _answered[dbapi_connection] = now
        return alive


def _has_news(connection: Any) -> bool:
    """Whether something was sent, or the other side has closed: neither happens to one that rests."""
    if connection.closed:
        return True
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return bool(socket.poll(0))
