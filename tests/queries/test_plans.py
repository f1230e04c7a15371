"""Every statement of every route, on a library of thousands of rows: no plan reads more than what it shows.

The routes are taken from the URLs, the statements from what their requests run, the plans from PostgreSQL.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import setup_databases, teardown_databases
from django.urls import resolve

from chat.bodies import body_of
from chat.models import Conversation, Message, MessageBody
from documents.models import Collection, Document, Membership
from ragsite.accounts.models import User
from ragsite.fields import new_id
from tests.fakes import FakeEncoder
from tests.queries.owners import owner_faults
from tests.queries.plans import Limits, faults, summary
from tests.queries.recording import Statement, recorded
from tests.queries.requests import EVERY, NOT_HERE, TASKS, Call
from tests.queries.telling import telling, untold
from tests.queries.world import Caller, routes

pytestmark = pytest.mark.xdist_group("plans")
SIZES = {"owners": 20, "documents": 2200, "chunks": 4000, "conversations": 2200, "messages": 6600}


@pytest.fixture(scope="module")
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """For all tests here together: pytest-django's marker would empty it, or hide it from an answer's thread.

    pytest-django makes databases for tests with its marker only, so where none of them runs they are made here.
    """
    with django_db_blocker.unblock():
        missing = not connection.settings_dict["NAME"].startswith("test_")
        made = setup_databases(0, interactive=False, aliases={"default"}) if missing else None
        yield
        call_command("flush", interactive=False, verbosity=0)
        if made is not None:
            teardown_databases(made, 0)


@pytest.fixture(scope="module")
def caller(database: None) -> Iterator[Caller]:
    """The one with most of a filled site."""
    fake = FakeEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragsite.embedding._client", lambda: fake)
        patch.setattr(settings, "CACHES_OFF", {"all"})
        call_command("seed", **SIZES)
        yield Caller(User.objects.get(username="seed-00001"))


def test_every_route_and_method_has_a_request(caller):
    asked = {(resolve(call.path.split("?")[0].format(**caller.names)).route, call.method) for call in EVERY}
    asked |= {(route, "any") for route, _ in asked}
    missing = [found for found in routes() if found not in asked and found[0] not in NOT_HERE]
    assert missing == [], "routes without a request: add one to tests/queries/requests.py, or say there why not"


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_no_plan_reads_more_than_it_shows(caller, call):
    with telling() as told, recorded(plans=True) as statements:
        response = caller.send(call)
    assert response.status_code == call.expect, response.content[:500]
    assert problems(statements, call.limits) == []
    assert untold(statements, told) == []


def test_a_write_that_nobody_tells_is_noticed(caller):
    with telling() as told, recorded() as statements:
        Document.objects.filter(id=caller.names["document"]).update(title="New")
    assert untold(statements, told) == ["documents_document was written, and none of ['library'] told"]
    without = [f"{fault}: {statement.shape}" for statement in statements for fault in owner_faults(statement)]
    assert without == [], "it could not be answered by its owner's shard alone: docs/sharding.md"


@pytest.mark.parametrize(
    "statement",
    [
        lambda owner: list(Document.objects.filter(filename="a.txt")),
        lambda owner: list(Membership.objects.extra(
            tables=["documents_collection"],
            where=["documents_collection.id = collection_id AND documents_membership.owner_id = %s"], params=[owner.pk],
        )),
        lambda owner: list(Message.objects.for_user(owner).filter(conversation__in=Conversation.objects.all())),
        lambda owner: Document.objects.filter(id=new_id()).update(title="x"),
        lambda owner: Collection.objects.filter(owner=owner).update(owner=owner),
        lambda owner: MessageBody.objects.bulk_create(
            [body_of(Message.objects.for_user(owner).first(), "x")],
            update_conflicts=True, unique_fields=["message"], update_fields=["content"],
        ),
    ],
    ids=["no-owner", "joined-by-id", "subquery", "update", "changed-owner", "conflict"],
)  # fmt: skip
def test_a_statement_that_needs_more_than_its_owners_shard_is_noticed(caller, statement):
    owner = User.objects.get(username="seed-00001")
    with transaction.atomic():
        with recorded(plans=True) as statements:
            statement(owner)
        transaction.set_rollback(True)
    assert any(map(owner_faults, statements))


@pytest.mark.parametrize(
    "path", ["/api/v1/queue", "/library/", "/api/v1/documents?status=uploaded", "/library/progress/?id={document}"]
)
def test_a_long_queue_is_not_read_to_its_end(caller, monkeypatch, path):
    monkeypatch.setattr("documents.queue.outlook.MOST_COUNTED", 100)
    monkeypatch.setattr("documents.queue.outlook.SAMPLED", 20)
    monkeypatch.setattr("documents.queue.outlook.COUNTED_ANEW", 1_000_000)
    with transaction.atomic():
        Document.objects.filter(status="processed").update(status="uploaded", processed_at=None)
        with connection.cursor() as cursor:  # as autovacuum does; before, the planner believes that nothing is open
            cursor.execute("ANALYZE documents_document")
        with recorded(plans=True) as statements:
            assert caller.send(Call("get", path)).status_code == 200
        transaction.set_rollback(True)
    with connection.cursor() as cursor:  # what was rolled back stands in the way of all later statements
        cursor.execute("VACUUM documents_document")
    queue = [statement for statement in statements if "lease_expires_at <=" in statement.sql]
    assert queue
    assert problems(queue, Limits(rows=20 * 120 + 300, buffers=5000)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/conversations?search=turbine",
        "/api/v1/conversations?search=turbine&cursor={deep_conversations}",
        "/api/v1/conversations?search=nobodysaid+t",
        "/?search=t",
        "/api/v1/documents?search=oslo",
        "/api/v1/documents?search=oslo&ordering=-filename",
        "/library/?search=p",
        "/chat/scope/?find=oslo",
    ],
)
def test_what_many_rows_hold_is_looked_for_in_a_stretch_of_the_list(caller, monkeypatch, path):
    lower_bounds(monkeypatch, few=5, looked_at=30)
    with recorded(plans=True) as statements:
        assert caller.send(Call("get", path)).status_code == 200
    sifted = [statement for statement in statements if "sifted" in statement.sql]
    assert sifted or "nobody" in path
    assert problems(sifted, Limits(rows=30 * 20, sorted=26, buffers=30 * 40)) == []
    asked = [statement for statement in statements if "tsvector" in statement.sql and statement not in sifted]
    assert problems(asked, Limits(rows=2 * 6, sorted=26, buffers=300, entries=False)) == []


def test_a_stretch_without_an_end_is_noticed(caller, monkeypatch):
    lower_bounds(monkeypatch, few=5, looked_at=10_000)
    monkeypatch.setattr("chat.searching._few", lambda *_: None)  # how many hold the words depends on the seed's numbers
    with recorded(plans=True) as statements:
        caller.send(Call("get", "/api/v1/conversations?search=turbine+nobodysaid"))
    assert problems(statements, Limits(rows=30 * 20, sorted=26, buffers=30 * 40)) != []


def lower_bounds(monkeypatch: pytest.MonkeyPatch, few: int, looked_at: int) -> None:
    for module in ("chat.searching", "documents.naming"):
        monkeypatch.setattr(f"{module}.FEW", few)
        monkeypatch.setattr(f"{module}.LOOKED_AT", looked_at)


@pytest.mark.parametrize("name", TASKS)
def test_no_task_of_the_clock_looks_through_a_table(caller, name):
    module, _, function = name.rpartition(".")
    with recorded(plans=True) as statements:
        getattr(import_module(module), function)()
    assert problems(statements, Limits()) == []


@pytest.mark.parametrize(
    ("index", "path"),
    {
        "document_uploaded_idx": "/api/v1/documents",
        "document_status_idx": "/api/v1/documents?status=failed",
        "document_type_idx": "/api/v1/documents?content_type=text/plain&page_size=100",
        "document_filename_idx": "/api/v1/documents?ordering=filename",
        "document_size_idx": "/api/v1/documents?ordering=size",
        "conversation_updated_idx": "/api/v1/conversations",
        "message_conversation_idx": "/api/v1/conversations/{conversation}",
    }.items(),
)
def test_a_missing_index_is_noticed(caller, index, path):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {index}")
        with recorded(plans=True) as statements:
            caller.send(Call("get", path))
        assert problems(statements, Limits()) != []
        transaction.set_rollback(True)


def test_names_by_prefix_are_found_in_the_index_that_orders_them(caller):
    with recorded(plans=True) as statements:
        caller.send(Call("get", "/api/v1/documents?search=turbine"))
    assert any("document_filename_idx" in summary(statement) for statement in statements)


def test_a_query_that_reads_whole_rows_one_by_one_is_noticed(caller):
    with recorded(plans=True) as statements:
        list(Document.objects.filter(title__icontains="oslo"))
    assert "scans documents_document" in problems(statements, Limits())[0]


def problems(statements: list[Statement], limits: Limits) -> list[str]:
    return [
        f"{fault}: {statement.shape}\n{summary(statement)}"
        for statement in statements
        for fault in faults(statement, limits)
    ]
