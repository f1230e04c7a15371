"""More hash partitions while others write: nothing lost, nothing double, everything as it was."""

import io
import re
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import OperationalError, connection, connections, models, transaction

from chat.seeding import texts
from chat.seeding.libraries import Writer
from chat.seeding.plan import times
from documents.models import Chunk, Document
from documents.services import delete_rows
from ragsite.accounts.models import User
from ragsite.partitioning import blueprint, locking, splitting
from ragsite.partitioning.blueprint import Blueprint
from ragsite.partitioning.catalog import exists, partitions, rows
from tests.partitions.conftest import content

pytestmark = pytest.mark.xdist_group("partitions")
TABLES = ("documents_chunk", "documents_embedding")
LEFTOVERS = r"""
SELECT relname::text FROM pg_class WHERE relname LIKE '%\_split'
UNION ALL SELECT proname::text FROM pg_proc WHERE proname LIKE '%\_mirror'
"""


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("partitions", *arguments, stdout=output)
    return output.getvalue()


def structure(table: str) -> set[str]:
    """Columns, indexes, constraints and options of the partitions, without names: one where all are alike."""
    found = set()
    for one in partitions(table):
        plan = blueprint.read(table, one, 1024, "owner_id")
        indexes = sorted(text.partition(" USING ")[2] for text in plan.indexes.values())
        found.add(
            str((plan.columns, plan.all_columns, plan.unique, sorted(plan.foreign.values()), plan.options, indexes))
        )
    return found


def next_split(table: str = "documents_chunk", target: int = 64) -> Blueprint:
    """Of the partition that has most rows."""
    return max(splitting.chosen(target, table), key=lambda plan: plan.partition.heap)


def stop_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As if the process were killed when it comes to this, after the new partitions have been made."""
    plain, calls = getattr(splitting, name), count()

    def killed(*arguments: Any) -> None:
        if name == "_check_unchanged" and next(calls) == 0:
            return plain(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(splitting, name, killed)


@pytest.fixture(scope="module", autouse=True)
def library(fill: Callable[[int, int], None]) -> None:
    fill(160, 3)


@pytest.fixture(autouse=True)
def nothing_left_over(library: None) -> Iterator[None]:
    yield
    assert rows(LEFTOVERS) == []


def test_a_partition_becomes_four_that_hold_the_same_in_the_same_way():
    plan, before = next_split(), content("documents_chunk")
    told: list[str] = []
    splitting.split(plan, told.append, batch=7)
    assert content("documents_chunk") == before
    assert not exists(plan.source)
    found = {one.name: one for one in partitions("documents_chunk")}
    assert {name: found[name].remainder for name in plan.children} == plan.children
    assert sum(rows(f"SELECT count(*) FROM {name}")[0][0] for name in plan.children) > 0
    assert len(structure("documents_chunk")) == 1  # indexes, keys, storage as those that were not split
    for name in plan.children:  # each a part of the index that the table has, none made anew when it was attached
        own = {index for index, _ in rows(splitting.VALID, [name])}
        assert own == {*plan.index_creation(name), f"{name}_pkey"}


def test_attaching_reads_no_row_and_settings_are_kept():
    plan = next_split()
    wanted = ["autovacuum_vacuum_scale_factor=0.01", "toast.autovacuum_vacuum_threshold=77", "toast_tuple_target=8160"]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {plan.source} SET ({', '.join(wanted)})")
        cursor.execute("SET client_min_messages = debug1")
    connection.connection.notices = notices = []
    splitting.split(blueprint.read(plan.parent, plan.partition, plan.target, plan.key_column), print)
    with connection.cursor() as cursor:
        cursor.execute("RESET client_min_messages")
    for name in plan.children:
        told = f'partition constraint for table "{name}" is implied by existing constraints'
        assert sum(told in notice for notice in notices) == 1
        assert sorted(rows(blueprint.STORAGE, [name])[0][0]) == wanted
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name} RESET ({', '.join(one.partition('=')[0] for one in wanted[:2])})")


def test_searching_by_meaning_goes_on_by_the_index_of_the_new_partitions():
    splitting.split(next_split("documents_embedding"), print)
    (options,) = {one.options for one in [blueprint.read("documents_embedding", part, 1024, "owner_id")
                                          for part in partitions("documents_embedding")]}  # fmt: skip
    assert options == next_split("documents_embedding").options
    plan = next(plan for plan in splitting.chosen(1024, "documents_embedding") if plan.partition.modulus == 64)
    assert any("hnsw" in definition for definition in plan.indexes.values())


@pytest.mark.parametrize(
    "moment",
    [
        "build",
        "_check_unchanged",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("copy", "_add_keys", "_compare")),
    ],
)
def test_a_run_that_is_killed_is_gone_on_with(monkeypatch, moment):
    plan, before = next_split(), content("documents_chunk")
    with monkeypatch.context() as patch:
        stop_at(patch, moment)
        with pytest.raises(KeyboardInterrupt):
            splitting.split(plan, print, batch=5)
    assert [name for _, one in splitting.unfinished() for name in [one.name]] == [plan.source]
    assert content("documents_chunk") == before
    splitting.split(plan, print)
    assert content("documents_chunk") == before
    assert not exists(plan.source)


def test_a_run_that_is_killed_is_undone(monkeypatch):
    plan, before = next_split(), content("documents_chunk")
    stop_at(monkeypatch, "_compare")
    with pytest.raises(KeyboardInterrupt):
        splitting.split(plan, print)
    with pytest.raises(SystemExit):
        run()
    with pytest.raises(CommandError, match="--dry-run goes with"):
        run("--undo", "--dry-run")
    assert run("--undo", "--table", "documents_embedding") == ""
    with pytest.raises(CommandError, match=f"split of {plan.source} is not finished"):
        call_command("migrate", "documents", "0001", verbosity=0)
    assert run("--undo") == f"{plan.source}: as before\n"
    assert content("documents_chunk") == before
    assert exists(plan.source)


def test_what_is_written_meanwhile_is_there_afterwards(people, monkeypatch):
    """Deterministic: between any two steps rows of every kind are written to the partition that is being split."""
    plan = next_split()
    owner = next(person for person in people if in_partition(plan, person))
    sentences, step = texts.sentences(), count()

    def meddle(*_: Any) -> None:
        with transaction.atomic():
            library = Writer(sentences, {}, None)
            library.add(owner.pk, times(1)[0], 4)
            library.flush()
            mine = Document.objects.for_user(owner).order_by("uploaded_at", "id")
            delete_rows(owner.pk, [mine[next(step) % 2].id])
            Chunk.objects.filter(owner=owner, document_id=mine[1].id).update(title=f"changed {next(step)}")
            with transaction.atomic():
                point = transaction.savepoint()
                delete_rows(owner.pk, [mine[2].id])
                transaction.savepoint_rollback(point)

    for name in ("copy", "build", "_add_keys", "_compare"):
        plain = getattr(splitting, name)
        monkeypatch.setattr(splitting, name, lambda *a, plain=plain, **k: (meddle(), plain(*a, **k), meddle())[1])
    monkeypatch.setattr(splitting.time, "sleep", meddle)
    told: list[str] = []
    splitting.split(plan, told.append, batch=3)
    documents = Document.objects.for_user(owner)
    assert sum(documents.values_list("chunk_count", flat=True)) == Chunk.objects.filter(owner=owner).count()
    assert Chunk.objects.filter(owner=owner, title__startswith="changed").exists()
    assert next(step) > 20


def in_partition(plan: Blueprint, person: User) -> bool:
    found = rows(f"SELECT 1 FROM {plan.source} WHERE owner_id = %s LIMIT 1", [person.pk])
    return bool(found) and Document.objects.for_user(person).count() > 3


def test_a_row_that_somebody_changes_is_waited_for_and_neither_lost_nor_brought_back(people, monkeypatch):
    plan = next_split()
    owner = next(person for person in people if in_partition(plan, person))
    held, go = threading.Event(), threading.Event()
    gone = Document.objects.for_user(owner).earliest("uploaded_at").id

    def delete_slowly() -> None:
        with transaction.atomic():
            delete_rows(owner.pk, [gone])
            held.set()
            go.wait(30)
        connections.close_all()

    locking.briefly_locked(plan.creation())
    thread = threading.Thread(target=delete_slowly)
    thread.start()
    assert held.wait(30)
    monkeypatch.setattr(splitting.time, "sleep", lambda _: (go.set(), thread.join(30)))
    splitting.split(plan, print)
    assert go.is_set()
    assert not Chunk.objects.filter(owner=owner, document_id=gone).exists()


def test_a_strong_lock_that_is_not_free_is_asked_for_again(monkeypatch):
    plan = next_split()
    held, go = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with transaction.atomic():
            Chunk.objects.filter(owner=0).exists()
            held.set()
            go.wait(30)
        connections.close_all()

    thread = threading.Thread(target=read_for_long)

    def begin(plan: Blueprint, *_: Any) -> None:
        thread.start()
        held.wait(30)

    monkeypatch.setattr(splitting, "_compare", begin)
    monkeypatch.setattr(locking.time, "sleep", lambda _: (go.set(), thread.join(30)))
    told: list[str] = []
    splitting.split(plan, told.append)
    assert re.search(r"\(([2-9]) tries", told[-1])


def test_a_lock_that_is_never_free_leaves_all_as_it_is(monkeypatch):
    monkeypatch.setattr(locking, "GIVEN_UP_AFTER", -1)
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE documents_chunk IN ROW EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="nothing is lost, run it again"):
            run("--repartition", "64", "--table", "documents_chunk")
    other.close()
    assert list(splitting.unfinished()) == []


def test_a_migration_that_comes_between_is_noticed(monkeypatch):
    plan, before = next_split(), content("documents_chunk")
    with monkeypatch.context() as patch:
        stop_at(patch, "_compare")
        with pytest.raises(KeyboardInterrupt):
            splitting.split(plan, print)
    field = models.TextField(db_default="x")
    field.set_attributes_from_name("added")
    field.model = Chunk
    with connection.schema_editor() as editor:
        editor.add_field(Chunk, field)
    told: list[str] = []
    splitting.split(blueprint.read("documents_chunk", plan.partition, 64, "owner_id"), told.append)
    assert told[0] == f"{plan.source}: was changed since its split began; begun anew"
    with connection.schema_editor() as editor:
        editor.add_index(Chunk, models.Index(fields=["owner", "page"], name="chunk_page_idx"))
        editor.remove_index(Chunk, models.Index(fields=["owner", "page"], name="chunk_page_idx"))
        editor.remove_field(Chunk, field)
    assert content("documents_chunk") == before


@pytest.fixture
def column() -> Iterator[Callable[[], None]]:
    """Adds a column with values to the chunks, as a migration does; it is gone afterwards."""

    def add() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE documents_chunk ADD COLUMN added integer")
            cursor.execute("UPDATE documents_chunk SET added = position + 1")

    yield add
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE documents_chunk DROP COLUMN added")


def test_a_column_that_came_after_the_plan_was_read_keeps_its_values(column):
    plan = next_split()
    column()
    before = content("documents_chunk")
    splitting.split(plan, print)
    assert content("documents_chunk") == before


def test_a_column_that_comes_before_the_exchange_keeps_its_values(column, monkeypatch):
    plan, plain = next_split(), splitting._compare
    monkeypatch.setattr(splitting, "_compare", lambda *rest: (plain(*rest), once()))
    done: list[bool] = []

    def once() -> None:
        if not done:
            done.append(True)
            column()

    told: list[str] = []
    splitting.split(plan, told.append)
    assert any("at the last moment" in line for line in told)
    assert rows("SELECT count(*) FROM documents_chunk WHERE added IS DISTINCT FROM position + 1") == [(0,)]


def test_new_partitions_of_a_stale_plan_are_not_gone_on_with(column):
    """As a version that did not look whether its plan was still true left them: the trigger lacks the column."""
    plan = next_split()
    column()
    before = content("documents_chunk")
    locking.briefly_locked(plan.creation())
    splitting.copy(plan)
    told: list[str] = []
    splitting.split(next(one for one in splitting.chosen(64, plan.parent) if one.source == plan.source), told.append)
    assert "begun anew" in told[0]
    assert content("documents_chunk") == before


def test_an_index_that_is_not_whole_is_not_built_by_the_exchange():
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX half_idx ON ONLY documents_chunk (owner_id, page)")
    try:
        with pytest.raises(splitting.CannotSplit, match="half_idx of documents_chunk is not whole"):
            splitting.split(next_split(), print)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX half_idx")


def test_truncating_and_stricter_isolation_are_refused_while_it_lasts(people):
    plan = next_split()
    locking.briefly_locked(plan.creation())
    with pytest.raises(OperationalError, match="is being split"), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {plan.source}")
    splitting.undo(plan.parent, plan.partition)


def test_numbers_that_do_not_fit_and_second_runs_are_refused():
    with pytest.raises(CommandError, match="choose a multiple"):
        run("--repartition", "24")
    with pytest.raises(CommandError, match="no hash-partitioned table nothing"):
        run("--repartition", "64", "--table", "nothing")
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [splitting.ADVISORY])
        with pytest.raises(CommandError, match="another"):
            run("--undo")
        with pytest.raises(CommandError, match="is splitting or undoing"):
            call_command("migrate", "documents", "0001", verbosity=0)
    other.close()


def test_no_split_begins_while_a_migration_runs_and_one_may_afterwards(monkeypatch):
    def applied(command: Any, *_: Any, **__: Any) -> None:
        command.verbosity = 0
        command.migration_progress_callback("apply_start")
        other = connections.create_connection("default")
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [splitting.ADVISORY])
            assert cursor.fetchone() == (False,)
        other.close()

    monkeypatch.setattr(migrate.Command, "handle", applied)
    call_command("migrate", verbosity=0)
    assert rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [splitting.ADVISORY]) == [
        (0,)
    ]


def test_a_dry_run_prints_the_statements_and_changes_nothing():
    before = [one.name for one in partitions("documents_chunk")]
    told = run("--repartition", "1024", "--table", "documents_chunk", "--dry-run")
    for text in ("CREATE TABLE documents_chunk_p", "SKIP LOCKED", "CREATE INDEX CONCURRENTLY", "ATTACH PARTITION"):
        assert text in told
    assert [one.name for one in partitions("documents_chunk")] == before


@pytest.mark.slow
def test_the_command_makes_64_of_all_tables_and_says_when_there_is_nothing_to_do(fill):
    before = {table: content(table) for table in TABLES}
    run("--repartition", "64")
    assert {table: content(table) for table in TABLES} == before
    for table in TABLES:
        assert sorted(one.remainder for one in partitions(table)) == list(range(64))
        assert len(structure(table)) == 1
    assert run("--repartition", "64") == "Every hash-partitioned table has 64 partitions or more.\n"
    fill(40, 2)  # later writes find their partitions
