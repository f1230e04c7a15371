"""`manage.py shard` where there is no Citus: it tells what it would do, and does nothing."""

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError

from ragsite.api.problems import as_problem
from ragsite.sharding.tables import LOCAL, OWNERS, REFERENCE, distributed_tables

pytestmark = pytest.mark.django_db


def dry_run() -> str:
    out = StringIO()
    call_command("shard", "--dry-run", stdout=out)
    return out.getvalue()


def test_a_dry_run_prints_how_each_table_of_owners_is_distributed():
    printed = dry_run()
    for table in distributed_tables():
        assert f"SELECT create_distributed_table('{table}', 'owner_id'" in printed
        assert f"ALTER TABLE {table} ADD CONSTRAINT {table}_owner_fk" in printed
    assert "SELECT create_reference_table('sharding_owner')" in printed
    assert printed.startswith("-- This server has no Citus")


def test_what_is_pointed_at_is_distributed_before_what_points_at_it():
    printed = dry_run()
    places = [
        printed.index(f"create_distributed_table('{table}'")
        for table in ("documents_document", "documents_chunk", "documents_embedding")
    ]
    assert places == sorted(places)
    assert printed.index("create_distributed_table('chat_message'") < printed.index(
        "create_distributed_table('chat_citation'"
    )


def test_what_stays_on_the_coordinator_is_emptied_after_the_commit_and_children_first():
    after = dry_run().partition("\nCOMMIT;\n")[2]
    emptied = [line.split("'")[1] for line in after.splitlines()]
    assert all(line.startswith("SELECT truncate_local_data_after_distributing_table(") for line in after.splitlines())
    assert sorted(emptied) == sorted([*distributed_tables(), OWNERS, *REFERENCE])
    for child, parent in (("chat_citation", "chat_message"), ("documents_chunk", "documents_document")):
        assert emptied.index(child) < emptied.index(parent) < emptied.index(OWNERS)


def test_keys_begin_with_the_owner():
    printed = dry_run()
    assert "ADD CONSTRAINT chat_message_pkey PRIMARY KEY (owner_id, id)" in printed
    assert "ADD CONSTRAINT chat_citation_message_marker_uniq UNIQUE (owner_id, message_id, marker)" in printed
    assert "chat_message_one_running_uniq ON public.chat_message USING btree (owner_id, conversation_id)" in printed
    assert "documents_chunk_pkey" not in printed  # it does already


def test_every_table_with_an_owner_has_its_place():
    owned = {
        model._meta.db_table
        for model in apps.get_models()
        if "owner" in {field.name for field in model._meta.local_fields}
    }
    assert owned == set(distributed_tables()) | {table for table in LOCAL if table in owned}
    assert not owned & set(REFERENCE)


def test_without_citus_nothing_is_changed():
    with pytest.raises(CommandError, match="no Citus"):
        call_command("shard")
    with pytest.raises(CommandError):
        call_command("shard", "--check", stderr=StringIO())


def test_a_shard_that_is_away_is_told_apart_from_the_database():
    away = as_problem(OperationalError("connection to the remote node postgres@10.0.0.7:5432 failed"))
    assert (away.status_code, away.code, away.headers) == (503, "shard_unavailable", {"Retry-After": "15"})
    assert as_problem(OperationalError("server closed the connection")).code == "database_unavailable"
