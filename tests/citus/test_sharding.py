"""What `manage.py shard` has made of the database, that migrations go on, and that each request asks one shard."""

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from chat.models import Conversation
from documents.models import Document
from ragsite.sharding import plan
from ragsite.sharding.checking import faults
from tests.citus.recording import asking_more_than_one_shard
from tests.queries.requests import EVERY
from tests.queries.world import Caller

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
User = get_user_model()


def run(*arguments):
    out = StringIO()
    call_command("shard", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_a_second_run_finds_nothing_to_do():
    assert plan.statements() == []
    assert "Nothing to do" in run("--dry-run")
    assert "Nothing to do" in run()
    assert "where they belong" in run("--check")


def test_a_user_that_the_shards_do_not_know_is_a_fault():
    user = User.objects.create_user("unknown")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sharding_owner WHERE id = %s", [user.pk])
    assert "1 users are unknown" in faults()[0]
    with pytest.raises(CommandError):
        run("--check")


def test_a_deleted_user_takes_everything_along(owner, upload):
    upload(owner)
    Conversation.objects.create(owner=owner, title="Gone")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_apitoken; DELETE FROM accounts_user WHERE id = %s", [owner.pk])
    assert not Document.objects.exists()
    assert not Conversation.objects.exists()


def test_migrations_go_on_and_a_new_table_is_taken_up_by_the_next_run(owner):
    note = migrations.CreateModel(
        "Note",
        [
            ("id", models.UUIDField(primary_key=True)),
            ("owner", models.ForeignKey("accounts.User", models.CASCADE, related_name="+", db_index=False)),
            ("text", models.TextField()),
        ],
        options={"db_table": "documents_note"},
    )
    column = migrations.AddField("document", "shade", models.TextField(default="", db_default=""))
    index = migrations.AddIndex("document", models.Index(fields=["owner", "shade"], name="document_shade_idx"))
    unique = migrations.AddConstraint(
        "collection", models.UniqueConstraint(fields=["owner", "created_at"], name="collection_moment_uniq")
    )
    before = MigrationExecutor(connection).loader.project_state()
    undone = []
    try:
        for operation in (column, index, unique, note):
            undone.insert(0, (operation, before))
            before = _applied(operation, before)
        missing = plan.statements_for(["documents_note"])
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in (*plan.session_settings(), *missing):
                cursor.execute(statement)
            cursor.execute(
                "INSERT INTO documents_note (id, text, owner_id) VALUES (gen_random_uuid(), 'x', %s)", [owner.pk]
            )
            cursor.execute("SELECT count(*) FROM documents_note WHERE owner_id = %s", [owner.pk])
            assert cursor.fetchone() == (1,)
        assert plan.statements_for(["documents_note"]) == []
    finally:
        for operation, state in undone:
            _reversed(operation, state)


def _applied(operation, before: ProjectState) -> ProjectState:
    after = before.clone()
    operation.state_forwards("documents", after)
    with connection.schema_editor() as editor:
        operation.database_forwards("documents", editor, before, after)
    return after


def _reversed(operation, before: ProjectState) -> None:
    after = before.clone()
    operation.state_forwards("documents", after)
    with connection.schema_editor() as editor:
        operation.database_backwards("documents", editor, after, before)


def test_each_request_asks_its_owners_shard_alone(fake_encoder, settings):
    settings.CACHES_OFF = {"all"}
    call_command("seed", owners=6, documents=120, chunks=300, conversations=60, messages=180, stdout=StringIO())
    caller = Caller(User.objects.get(username="seed-00001"))
    wrong = []
    for call in EVERY:
        with asking_more_than_one_shard() as found:
            response = caller.send(call)
        assert response.status_code == call.expect, f"{call}: {response.content[:300]!r}"
        wrong += [f"{call}: {statement}" for statement in found]
    assert wrong == []
