"""Every way to write, from the URLs, the tasks and the administration: what is read after it is what the rows say.

Before each write all that it may concern is read, so that every level holds it; after it all is read again, and once
more past the caches. A write that does not tell what it changes leaves a difference.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db.models import F
from django.urls import resolve
from django.utils import timezone

from chat.models import Citation, Conversation, Message
from documents.models import Document, EmbeddingModel, Membership
from processing import pipeline
from processing.renewal import renew_vectors
from ragsite.accounts.models import User
from ragsite.caching import epoch, protocol
from ragsite.celery import app
from tests.caching.conftest import Counted  # noqa: F401  (the folder's kinds of values are registered there)
from tests.queries.requests import EVERY, Call
from tests.queries.world import Caller

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
SIZES = {"owners": 1, "documents": 40, "chunks": 80, "conversations": 14, "messages": 28}
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
PASSING = re.compile(rb'value="[A-Za-z0-9]{64}"|cursor=[^"&]+|<time.*?</time>|"remaining_seconds":[0-9.]+')
"""What differs between two renderings of the same rows: tokens of forms, signatures with a moment, "just now"."""
WRITES = [call for call in EVERY if call.method not in {"get", "htmx"} and call.expect != 405]
LISTS = (
    "/api/v1/documents", "/api/v1/collections", "/api/v1/conversations", "/api/v1/conversations?archived=true",
    "/library/",
)  # fmt: skip
OF_A_DOCUMENT = ("/api/v1/documents/{}", "/api/v1/documents/{}/text", "/api/v1/documents/{}/chunks", "/library/{}/")
OF_A_CONVERSATION = ("/api/v1/conversations/{}", "/api/v1/conversations/{}/messages", "/chat/{}/")
QUESTION = "the turbine in Oslo"


@dataclass
class World:
    """The account that writes, and what it reads."""

    caller: Caller
    staff: Any

    def reads(self, told: str) -> list[Call]:
        """The lists, and everything that is named in a request."""
        names = {UUID(found) for found in IDS.findall(told)} | {self.caller.names["document"]}
        documents = list(Document.objects.filter(id__in=names).values_list("id", flat=True))
        answers = Message.objects.filter(id__in=names).values_list("conversation_id", flat=True)
        quoting = Citation.objects.filter(document_id__in=documents).values("message__conversation")
        talks = Conversation.objects.filter(id__in=[*names, *answers, *quoting.values_list(flat=True)[:2]])
        paths = [*LISTS, *(path.format(name) for path in OF_A_DOCUMENT for name in documents)]
        paths += [path.format(name) for path in OF_A_CONVERSATION for name in talks.values_list("id", flat=True)]
        paths += [f"/api/v1/documents?collection={name}" for name in self._collections(names)]
        searches = [Call("post", "/api/v1/search", {"query": QUESTION, "documents": [str(name)]}) for name in documents]
        return [*(Call("get", path) for path in paths), *searches]

    def _collections(self, names: set[UUID]) -> list[UUID]:
        found = Membership.objects.filter(collection__in=names).values_list("collection", flat=True).distinct()
        return list(found)

    def seen(self, reads: list[Call]) -> dict[str, tuple[int, bytes]]:
        return {f"{read} {read.data}": self._shown(read) for read in reads}

    def _shown(self, read: Call) -> tuple[int, bytes]:
        response = self.caller.send(read)
        return response.status_code, PASSING.sub(b"", response.content)


@pytest.fixture
def world(fake_encoder: Any, sandbox_service: Any, staff: User, signed_in: Callable[..., Any]) -> World:
    call_command("seed", **SIZES, verbosity=0)
    caller = Caller(User.objects.get(username="seed-00001"))
    _cite(caller)
    return World(caller, signed_in(staff))


def _cite(caller: Caller) -> None:
    """The documents that are to be written are cited by answers."""
    cited = [caller.names["document"], *caller.names["victims"], *caller.names["failed"]]
    answers = Message.objects.filter(role="assistant").order_by("id")[: len(cited)]
    rows = [Citation(owner_id=answer.owner_id, message=answer, marker=9, document_id=document, filename="cited.pdf",
                     start=0, end=5, quote="Words")
            for answer, document in zip(answers, cited, strict=False)]  # fmt: skip
    Citation.objects.bulk_create(rows)


def settle() -> None:
    """Nothing is in work (that is not kept), and nothing is kept of before."""
    Document.objects.in_work().update(status="processed", due_at=F("due_at"), lease_expires_at=None, attempt=None)
    cache.delete_pattern("*")
    protocol.circuit.reset()
    epoch.forget()


def stale(world: World, told: str, write: Callable[[], Any], settings: Any) -> list[str]:
    """What is read after a write as it was before it."""
    reads = world.reads(told)
    world.seen(reads)
    write()
    world.caller.pages.get("/settings/tokens/")  # takes what pages say once
    found = world.seen(reads)
    settings.CACHES_OFF = {"all"}
    true = world.seen(reads)
    settings.CACHES_OFF = set()
    return [read for read in true if found[read] != true[read]]


def by_request(world: World, call: Call) -> tuple[str, Callable[[], Any]]:
    def write() -> None:
        assert world.caller.send(call).status_code == call.expect, call

    return call.path.format(**world.caller.names) + str(world.caller._filled(call.data)), write


def process(world: World) -> tuple[str, Callable[[], Any]]:
    document = world.caller.names["with_file"]
    Document.objects.filter(id=document).update(status="uploaded", due_at=timezone.now())
    return str(document), lambda: _drain()


def _drain() -> None:
    while pipeline.process_next():
        pass


def renew(world: World) -> tuple[str, Callable[[], Any]]:
    """Vectors of another model are there."""
    EmbeddingModel.objects.create(name=f"other-{uuid4()}", dimensions=384)
    return str(world.caller.names["document"]), renew_vectors


def interrupt(world: World) -> tuple[str, Callable[[], Any]]:
    from chat.answers.sweeping import mark_interrupted

    answer = Message.objects.filter(role="assistant", status="complete").order_by("id").first()
    assert answer
    Message.objects.filter(id=answer.id).update(status="running", created_at=timezone.now() - timedelta(hours=1))
    return str(answer.id), lambda: mark_interrupted(answer.id)


def by_staff(path: str, **data: str) -> Callable[[World], tuple[str, Callable[[], Any]]]:
    def prepared(world: World) -> tuple[str, Callable[[], Any]]:
        filled = {name: value.format(**world.caller.names) for name, value in data.items()}
        return str(filled) + path, lambda: world.staff.post(
            path.format(**world.caller.names), {"post": "yes", **filled}
        )

    return prepared


OTHERS: dict[str, Callable[[World], tuple[str, Callable[[], Any]]]] = {
    "processing.tasks.process_next": process,
    "processing.tasks.renew_vectors": renew,
    "chat.tasks.sweep_interrupted": interrupt,
    "admin: process anew": by_staff("/admin/documents/document/", action="reprocess", _selected_action="{victims[7]}"),
    "admin: delete": by_staff("/admin/documents/document/", action="delete_selected", _selected_action="{victims[8]}"),
}
NO_ROWS = {
    "processing.tasks.wake_workers": "only wakes",
    "documents.tasks.run_imports": "uploads by the service that POST /documents calls",
    "documents.tasks.sweep_files": "files without a row",
    "ragsite.tasks.remove_expired": "sessions, idempotency keys",
    "ragsite.tasks.keep_partitions": "partitions without rows, or of what nothing kept shows",
    "ragsite.service_level.tasks.thin_measurements": "the service level's own tables",
}
"""Tasks that write nothing that is kept, and why."""


def every_write(world: World, settings: Any) -> Iterator[tuple[str, list[str]]]:
    """Each write, with what was stale after it."""
    ways: list[tuple[str, Callable[[], tuple[str, Callable[[], Any]]]]] = [
        (name, lambda prepare=prepare: prepare(world)) for name, prepare in OTHERS.items()
    ]
    ways += [(str(call), lambda call=call: by_request(world, call)) for call in WRITES]
    for name, prepare in ways:
        settle()
        told, write = prepare()
        yield name, stale(world, told, write, settings)


@pytest.mark.slow
def test_after_every_write_what_is_read_is_what_the_rows_say(world, settings):
    assert {name: wrong for name, wrong in every_write(world, settings) if wrong} == {}


def test_every_task_is_a_write_that_is_tried_or_writes_nothing():
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours - OTHERS.keys() - NO_ROWS.keys() == set(), "a task of which nobody knows whether it tells its changes"


def test_every_route_that_writes_is_tried():
    tried = {resolve(re.sub(r"\{[^}]*\}", str(uuid4()), call.path.split("?")[0])).route for call in WRITES}
    assert len(tried) > 30


# Not "quotes": whoever tells it tells names as well, of which all that shows quotes is made too.
@pytest.mark.slow
@pytest.mark.parametrize(
    "forgotten", ["library", "document", "documents", "names", "corpus", "conversations", "conversation"]
)
def test_a_change_that_nobody_tells_is_noticed(world, settings, monkeypatch, forgotten):
    def told(things: Any) -> list[str]:
        return [thing for thing in things if thing.partition(":")[0] != forgotten]

    bar, unbar = protocol.bar, protocol.unbar
    monkeypatch.setattr(protocol, "bar", lambda writer, known, things: bar(writer, known, told(things) or ["none"]))
    monkeypatch.setattr(protocol, "unbar", lambda writer, known, things: unbar(writer, known, told(things) or ["none"]))
    assert any(wrong for _, wrong in every_write(world, settings))
