"""A connection that breaks off in the middle is a database that is away, not a fault of the site."""

import os
import socket
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from django.db import IntegrityError, OperationalError, connection
from django.db.utils import ConnectionHandler

from ragsite.copying import copy_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def break_off() -> Iterator[Callable[[], None]]:
    """Have the server's end of this thread's connection gone, as when it is killed."""

    def cut() -> None:
        connection.ensure_connection()
        _cut(connection.connection.fileno())

    yield cut
    connection.close()


def test_a_query_tells_it(break_off: Callable[[], None]) -> None:
    break_off()
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_what_the_driver_gives_no_class_is_told_alike() -> None:
    with pytest.raises(OperationalError, match="closed the connection"), connection.wrap_database_errors:
        raise psycopg2.DatabaseError("server closed the connection unexpectedly")


def test_a_copy_tells_it(break_off: Callable[[], None]) -> None:
    break_off()
    with pytest.raises(OperationalError):
        copy_rows("documents_embeddingmodel", ("name", "dimensions"), [("a", 1)])


def test_a_copy_that_breaks_a_rule_says_so_as_an_insert_would() -> None:
    with pytest.raises(IntegrityError):
        copy_rows("documents_embeddingmodel", ("name", "dimensions"), [("same", 1), ("same", 1)])


def test_a_pooled_connection_tells_it_too() -> None:
    configured = {**connection.settings_dict, "ENGINE": "ragsite.backends.pooled"}
    pooled = ConnectionHandler({"default": configured})["default"]
    pooled.ensure_connection()
    _cut(pooled.connection.driver_connection.fileno())
    with pytest.raises(OperationalError), pooled.cursor() as cursor:
        cursor.execute("SELECT 1")


def _cut(descriptor: int) -> None:
    here, there = socket.socketpair()
    there.close()
    os.dup2(here.fileno(), descriptor)
    here.close()
