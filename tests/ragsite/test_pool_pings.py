"""The pool asks a connection whether it lives only where that is in doubt, and hands out no dead one."""

import select
from collections.abc import Iterator
from typing import Any

import pytest
from dj_db_conn_pool.core import pool_container
from django.db import connection
from django.db.utils import ConnectionHandler
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from ragsite.backends import pinging

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pooled() -> Iterator[Any]:
    options = {"PRE_PING": True, "POOL_SIZE": 1, "MAX_OVERFLOW": 0}
    configured = {**connection.settings_dict, "ENGINE": "ragsite.backends.pooled", "POOL_OPTIONS": options}
    pool_container.pop("default", None)  # another test's, with other options
    made = ConnectionHandler({"default": configured})["default"]
    yield made
    made.close()
    pool_container.pop("default").dispose()


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    real = PGDialect_psycopg2.do_ping

    def counted(self: Any, connection: Any) -> Any:
        asked.append(connection)
        return real(self, connection)

    monkeypatch.setattr(PGDialect_psycopg2, "do_ping", counted)
    return asked


def backend_of(pooled: Any) -> int:
    """The server's process of a connection that is got and given back."""
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        found = int(cursor.fetchone()[0])
    pooled.close()
    return found


def test_a_connection_that_has_just_answered_is_not_asked_again(pooled: Any, pings: list[Any]) -> None:
    assert len({backend_of(pooled) for _ in range(5)}) == 1
    assert len(pings) == 1, "not the new one, once the one that was given back, then not for a while"


def test_one_that_has_rested_is_asked(pooled: Any, pings: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinging, "SECONDS", 0)
    for _ in range(4):
        backend_of(pooled)
    assert len(pings) == 3


def test_one_whose_server_ended_meanwhile_is_not_handed_out(pooled: Any) -> None:
    first = backend_of(pooled)
    backend_of(pooled)  # it has answered this moment
    resting = pool_container.get("default")._pool.queue[0].driver_connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
    assert select.select([resting], [], [], 5)[0], "what the server says last arrives"
    assert backend_of(pooled) != first
