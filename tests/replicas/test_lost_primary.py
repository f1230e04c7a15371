"""A server that takes no writes any more is away, and its connection is not used again."""

from collections.abc import Iterator
from typing import Any

import pytest
from dj_db_conn_pool.core import pool_container
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler
from rest_framework.response import Response

from ragsite.api.problems import problem_handler

pytestmark = pytest.mark.django_db(transaction=True)
INSERT = "INSERT INTO documents_embeddingmodel (name, dimensions) VALUES ('a', 1)"


@pytest.fixture
def pooled() -> Iterator[Any]:
    configured = {**connection.settings_dict, "ENGINE": "ragsite.backends.pooled"}
    made = ConnectionHandler({"default": configured})["default"]
    yield made
    made.close()
    pool_container.get("default").dispose()


def test_a_write_to_it_is_answered_as_by_a_database_that_is_away() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        with pytest.raises(OperationalError) as raised:
            cursor.execute(INSERT)
    connection.close()
    answer = problem_handler(raised.value, {})
    assert isinstance(answer, Response)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")


def test_the_pool_does_not_hand_out_its_connection_again(pooled: Any) -> None:
    def backend() -> int:
        with pooled.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    first = backend()
    pooled.close()
    assert backend() == first, "the pool keeps connections that are well"
    with pytest.raises(OperationalError), pooled.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        cursor.execute(INSERT)
    pooled.close()
    assert backend() != first
