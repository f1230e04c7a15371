"""Migrations that run while the site does: what each may do, how long it waits, indexes on partitioned tables.

A new migration that is found here is to be written anew (docs/connections.md says how), or, if it is right to do it, to
be named in ALLOWED with the reason.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from django.core.management.commands import migrate as django_migrate
from django.db import NotSupportedError, OperationalError, connection, models
from django.db.migrations import Migration, RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState
from django_migration_linter.sql_analyser import analyse_sql_statements, get_sql_analyser_class

from ragsite.management.commands import migrate
from ragsite.online_indexes import AddIndexOnline, AddPartitionedIndex

outside_transactions = pytest.mark.django_db(transaction=True)
APPS = ("accounts", "backup", "caching", "chat", "documents", "processing", "service_level")
BEFORE = {"accounts": 2, "chat": 6, "documents": 15, "processing": 2}
"""Up to this number of each app, and the first of all others, they were made when sites stopped for an update."""
ALLOWED: dict[str, set[str]] = {}
"""By ``app.name`` what the checker finds there, and (in a comment) why it may stay."""
LINTER = get_sql_analyser_class("postgresql")
QUICK = {"DROP_INDEX"}
"""What needs its lock for an instant, for which `manage.py migrate` waits no longer than seconds."""
CHECKED = re.compile(r'ALTER TABLE "?(\w+)"? ADD CONSTRAINT .*\b(CHECK|FOREIGN KEY)\b(?!.*NOT VALID)')


def found_in(sql: list[str]) -> set[str]:
    """The codes of what would hold up or break a site that runs."""
    errors, _, warnings = analyse_sql_statements(LINTER, sql, [])
    made = {name for statement in sql for name in re.findall(r'CREATE TABLE "(\w+)"', statement)}
    reads_all = [match for match in map(CHECKED.search, sql) if match and match[1] not in made]
    return {issue.code for issue in [*errors, *warnings]} - QUICK | (
        {"CONSTRAINT_READS_ALL_ROWS"} if reads_all else set()
    )


@outside_transactions
def test_new_migrations_neither_hold_up_nor_break_a_site_that_runs():
    loader = MigrationLoader(connection)
    new = {
        f"{app}.{name}": migration
        for (app, name), migration in loader.disk_migrations.items()
        if app in APPS and int(name[:4]) > BEFORE.get(app, 1)
    }
    found = {name: found_in(loader.collect_sql([(migration, False)])) for name, migration in new.items()}
    assert {name: codes for name, codes in found.items() if codes} == ALLOWED


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("CREATE INDEX x ON documents_document (size)", "CREATE_INDEX"),
        ("ALTER TABLE documents_document DROP COLUMN size", "DROP_COLUMN"),
        ("ALTER TABLE documents_document RENAME COLUMN size TO bytes", "RENAME_COLUMN"),
        ("ALTER TABLE documents_document ALTER COLUMN size TYPE integer", "ALTER_COLUMN"),
        ("ALTER TABLE documents_document ADD COLUMN x integer NOT NULL", "NOT_NULL"),
        ("ALTER TABLE documents_document ADD CONSTRAINT x CHECK (size > 1)", "CONSTRAINT_READS_ALL_ROWS"),
    ],
)
def test_the_checker_finds_what_is_dangerous(sql, code):
    assert code in found_in(["BEGIN;", sql + ";", "COMMIT;"])


def test_what_is_safe_passes():
    safe = "ALTER TABLE documents_document ADD COLUMN x integer NULL;"
    later = "ALTER TABLE documents_document ADD CONSTRAINT x CHECK (size > 1) NOT VALID;"
    assert found_in(["BEGIN;", safe, later, "COMMIT;"]) == set()
    assert found_in(["CREATE INDEX CONCURRENTLY x ON documents_document (size);"]) == set()


@contextmanager
def reader() -> Iterator[Any]:
    """A long transaction that has read a table: nobody can change the table until it ends."""
    with closing(psycopg2.connect(**connection.get_connection_params())) as other, other.cursor() as cursor:
        cursor.execute("SELECT * FROM documents_rate")
        yield other


def change(_self: Any, *args: Any, **options: Any) -> None:
    """In place of Django's own command: one migration that needs the table for itself."""
    migration = Migration("x", "documents")
    migration.operations = [RunSQL("ALTER TABLE documents_rate ADD COLUMN for_this_test integer")]
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(ProjectState(), editor)


@outside_transactions
def test_migrating_gives_way_and_comes_again(monkeypatch):
    monkeypatch.setattr(django_migrate.Command, "handle", change)
    with reader() as other:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                other.rollback()

        monkeypatch.setattr(migrate, "time", SimpleNamespace(sleep=pause))
        try:
            migrate.Command().handle(database="default", lock_seconds=0.05)
            assert pauses == [1, 2]
            assert connection.lock_seconds == 0
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE documents_rate DROP COLUMN IF EXISTS for_this_test")


@outside_transactions
def test_migrating_gives_up_after_many_tries(monkeypatch):
    monkeypatch.setattr(django_migrate.Command, "handle", change)
    monkeypatch.setattr(migrate, "time", SimpleNamespace(sleep=lambda _seconds: None))
    with reader(), pytest.raises(OperationalError, match="lock timeout"):
        migrate.Command().handle(database="default", lock_seconds=0.05, tries=3)


TABLE = "test_online"


@pytest.fixture
def partitioned() -> Iterator[ProjectState]:
    """A partitioned table with rows, and the state that knows its model."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {TABLE} (id bigint, owner_id bigint) PARTITION BY HASH (owner_id)")
        for number in range(3):
            values = f"WITH (MODULUS 3, REMAINDER {number})"
            cursor.execute(f"CREATE TABLE {TABLE}_p{number} PARTITION OF {TABLE} FOR VALUES {values}")
        cursor.execute(f"INSERT INTO {TABLE} SELECT n, n % 7 FROM generate_series(1, 100) n")
    state = ProjectState()
    fields = [("id", models.BigIntegerField(primary_key=True)), ("owner_id", models.BigIntegerField())]
    state.add_model(ModelState("documents", "Online", fields, {"db_table": TABLE}))
    yield state
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")


def index_state(name: str = "online_idx") -> tuple[bool, int]:
    """Whether the parent's index counts, and how many partitions have one that is attached."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.indisvalid, (SELECT count(*) FROM pg_inherits WHERE inhparent = i.indexrelid) "
            "FROM pg_index i WHERE indexrelid = to_regclass(%s)",
            [name],
        )
        return cursor.fetchone()


def apply(
    state: ProjectState, operation: AddIndexOnline | AddPartitionedIndex, *, atomic: bool = False
) -> ProjectState:
    after = state.clone()
    operation.state_forwards("documents", after)
    with connection.schema_editor(atomic=atomic) as editor:
        operation.database_forwards("documents", editor, state, after)
    return after


def add_index() -> AddPartitionedIndex:
    return AddPartitionedIndex("online", models.Index(fields=["owner_id", "id"], name="online_idx"))


@outside_transactions
def test_an_index_comes_to_a_partitioned_table_concurrently_and_goes_on_where_it_was(partitioned, monkeypatch):
    from ragsite import online_indexes

    made = online_indexes._Building.on_partition

    def breaks_off(self: Any, partition: str) -> None:
        if partition.endswith("p1"):
            raise OperationalError("killed")
        made(self, partition)

    monkeypatch.setattr(online_indexes._Building, "on_partition", breaks_off)
    with pytest.raises(OperationalError, match="killed"):
        apply(partitioned, add_index())
    assert index_state() == (False, 1)
    monkeypatch.undo()
    after = apply(partitioned, add_index())
    assert index_state() == (True, 3)
    with connection.schema_editor(atomic=False) as editor:
        add_index().database_backwards("documents", editor, after, partitioned)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE tablename LIKE %s", [f"{TABLE}%"])
        assert cursor.fetchone() == (0,)


@outside_transactions
def test_an_index_of_which_an_interrupted_run_left_a_part_is_made_again(partitioned):
    partitioned.models["documents", "online"].options["db_table"] = f"{TABLE}_p0"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX online_idx ON {TABLE}_p0 (id)")
    apply(partitioned, AddIndexOnline("online", models.Index(fields=["owner_id", "id"], name="online_idx")))
    assert index_state() == (True, 0)


@outside_transactions
def test_it_wants_no_transaction_and_its_sql_passes_the_checker(partitioned):
    with pytest.raises(NotSupportedError, match="atomic = False"):
        apply(partitioned, add_index(), atomic=True)
    after = partitioned.clone()
    add_index().state_forwards("documents", after)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        add_index().database_forwards("documents", editor, partitioned, after)
    assert found_in(editor.collected_sql) == set()
    assert "CREATE INDEX CONCURRENTLY" in editor.collected_sql[0]
