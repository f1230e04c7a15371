"""A database of its own for tests that change partitions: a copy of the tests' own, which the others go on using."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from psycopg2.extensions import cursor as Cursor

from chat.seeding import texts
from chat.seeding.libraries import Writer
from chat.seeding.plan import times
from documents.vectors import register_model
from ragsite.accounts.models import User
from ragsite.partitioning.catalog import rows
from tests.databases import drop_database

DIMENSIONS = 8
# Autovacuum's workers give way to CREATE DATABASE by themselves, and are nobody's to end.
ALONE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
"""


@pytest.fixture(scope="module")
def own_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """Its name. pytest-django makes databases for tests with its marker only, which none here has."""
    with django_db_blocker.unblock():
        before = connection.settings_dict["NAME"]
        missing = not before.startswith("test_")
        made = setup_databases(0, interactive=False, aliases={"default"}) if missing else None
        template = connection.settings_dict["NAME"]
        copy = f"{template}_partitions"
        with _outside() as cursor:
            drop_database(cursor, copy)
            cursor.execute(ALONE, [template])
            cursor.execute(f"CREATE DATABASE {copy} TEMPLATE {template} STRATEGY FILE_COPY")
        connection.settings_dict["NAME"] = copy
        yield copy
        connections.close_all()
        connection.settings_dict["NAME"] = template
        with _outside() as cursor:
            drop_database(cursor, copy)
        if made is not None:
            teardown_databases(made, 0)


@contextmanager
def _outside() -> Iterator[Cursor]:
    """For statements that want nobody in the database."""
    connections.close_all()
    parameters = connection.get_connection_params() | {"dbname": "postgres"}
    names = ("dbname", "user", "password", "host", "port")
    outside = psycopg2.connect(**{name: parameters[name] for name in names if parameters.get(name)})
    outside.autocommit = True
    try:
        with outside.cursor() as cursor:
            yield cursor
    finally:
        outside.close()


@pytest.fixture(scope="module")
def people(own_database: str) -> list[User]:
    """Forty owners: some in each partition."""
    users = [User(username=f"person-{number}", email=f"{number}@example.com") for number in range(40)]
    return User.objects.bulk_create(users)


@pytest.fixture(scope="module")
def fill(people: list[User]) -> Callable[[int, int], None]:
    """``fill(documents, chunks)``: so many documents of so many chunks, for everybody in turn; two vectors a chunk."""
    model = register_model("split", DIMENSIONS)
    sentences = texts.sentences()

    def write(documents: int, chunks: int) -> None:
        library = Writer(sentences, {}, None)
        for number, moment in enumerate(times(documents)):
            library.add(people[number % len(people)].pk, moment, chunks)
        library.flush()
        with connection.cursor() as cursor:
            cursor.execute(VECTORS, [model.id, DIMENSIONS])

    return write


VECTORS = """
INSERT INTO documents_embedding (owner_id, document_id, "position", part, model_id, content_hash, vector)
SELECT owner_id, document_id, "position", part, %s, sha256(text::bytea),
  (SELECT array_agg(random()) FROM generate_series(1, %s) WHERE part >= 0)::vector::halfvec
FROM documents_chunk, generate_series(0, 1) part ON CONFLICT DO NOTHING
"""


def content(table: str) -> tuple[int, int]:
    """How many rows there are, and the sum of their hashes: the same for the same rows in any order and partition."""
    return rows(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t")[0]
