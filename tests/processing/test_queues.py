"""Queues by urgency and cost: which task and which document goes where, and what a worker of some of them takes."""

import re
from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings as site_settings
from django.db import connection
from django.utils import timezone

from documents.models import Document
from documents.queue import waking
from documents.queue.kinds import FEW, claimable, queue_for, waiting
from processing import pipeline, taking, tasks
from processing.leases import claim_next
from processing.scaling import read_signals
from ragsite import heartbeat, routes
from ragsite.embedded import CannotStart
from ragsite.layout import PROJECT_DIR
from ragsite.routes import DOCUMENT_QUEUES, EMBED, INGEST_BULK, INGEST_SMALL, INTERACTIVE, MAINTENANCE, QUEUES
from ragsite.supervisor.site import upkeep_program, worker_program

TABLE = (PROJECT_DIR / "docs" / "queues.md").read_text()


@pytest.fixture
def own_tasks() -> list[str]:
    current_app.loader.import_default_modules()
    return [name for name in current_app.tasks if not name.startswith("celery.")]


def test_every_task_has_its_queue_and_its_limits_in_the_table(own_tasks) -> None:
    assert set(own_tasks) == set(routes.ROUTES)
    for name in own_tasks:
        task, route = current_app.tasks[name], routes.ROUTES[name]
        assert current_app.amqp.router.route({}, name)["queue"].name == route.queue
        assert (task.soft_time_limit, task.time_limit) == (route.soft, route.hard)
        assert 0 < route.soft < route.hard < routes.VISIBILITY_SECONDS
        assert task.acks_late
        assert task.ignore_result
        assert re.search(rf"`{re.escape(name)}`.*\| {route.soft} s, {route.hard} s \|", TABLE)
    assert {entry["task"] for entry in site_settings.CELERY_BEAT_SCHEDULE.values()} <= set(own_tasks)


def test_one_message_at_a_time_is_fetched_and_a_lost_one_comes_again_after_the_longest_task() -> None:
    assert current_app.conf.worker_prefetch_multiplier == 1
    assert current_app.conf.task_reject_on_worker_lost
    assert current_app.conf.broker_transport_options["visibility_timeout"] == routes.VISIBILITY_SECONDS


def test_the_processes_of_one_machine_serve_every_queue_once(monkeypatch) -> None:
    monkeypatch.delenv("RAGSITE_QUEUES", raising=False)
    served = [argument for program in (worker_program(), upkeep_program()) for argument in program.argv]
    queues = ",".join(word.removeprefix("--queues=") for word in served if word.startswith("--queues="))
    assert sorted(queues.split(",")) == sorted(QUEUES)
    assert set(current_app.amqp.queues.consume_from) == set(QUEUES)  # one to which no queue is named takes all


def test_a_worker_may_be_started_for_some_queues(monkeypatch) -> None:
    monkeypatch.setenv("RAGSITE_QUEUES", "ingest-bulk, embed")
    assert "--queues=ingest-bulk,embed" in worker_program().argv
    monkeypatch.setenv("RAGSITE_QUEUES", "ingest-bulk,documents")
    with pytest.raises(CannotStart, match=r"RAGSITE_QUEUES: documents is no queue.*ingest-small"):
        worker_program()


def test_what_is_periodic_never_waits_behind_documents() -> None:
    periodic = {entry["task"] for entry in site_settings.CELERY_BEAT_SCHEDULE.values()}
    assert {routes.ROUTES[task].queue for task in periodic} == {MAINTENANCE}
    assert MAINTENANCE not in DOCUMENT_QUEUES


@pytest.fixture
def one_of_each(owner, stranger, upload) -> dict[str, Document]:
    """A small document of somebody with many, a large one, one to be embedded, and one of somebody who waits for it."""
    made = {
        INGEST_SMALL: [upload(owner, f"text {number}") for number in range(FEW + 1)].pop(),
        INGEST_BULK: upload(owner, "large"),
        EMBED: upload(owner, "read already"),
        INTERACTIVE: upload(stranger, "the only one"),
    }
    Document.objects.filter(id=made[INGEST_BULK].id).update(size=Document.LARGE_BYTES)
    Document.objects.filter(id=made[EMBED].id).update(status="embedding")
    for document in made.values():
        document.refresh_from_db()
    return made


def test_each_document_waits_in_one_queue(one_of_each) -> None:
    assert {queue: queue_for(document) for queue, document in one_of_each.items()} == {
        queue: queue for queue in DOCUMENT_QUEUES
    }
    assert {queue: count for queue, (count, since) in waiting(100).items()} == {
        INTERACTIVE: 1,
        INGEST_SMALL: FEW + 2,
        INGEST_BULK: 1,
        EMBED: 1,
    }


@pytest.mark.parametrize("queue", DOCUMENT_QUEUES)
def test_a_worker_of_one_queue_takes_nothing_else(one_of_each, queue) -> None:
    taken = []
    while document := claim_next(queues=[queue]):
        taken.append(document.id)
    small = {row.id for row in Document.objects.all()} - {one_of_each[other].id for other in (INGEST_BULK, EMBED)}
    assert set(taken) == (small if queue == INGEST_SMALL else {one_of_each[queue].id})
    assert not claimable([queue]).exists()


def test_workers_of_different_queues_leave_nothing_and_take_nothing_twice(one_of_each) -> None:
    sets = [[INGEST_BULK], [INTERACTIVE, INGEST_SMALL], [EMBED]]
    taken = []
    for queues in sets:
        while document := claim_next(queues=queues):
            taken.append(document.id)
    assert sorted(taken) == sorted(Document.objects.values_list("id", flat=True))


def test_a_worker_of_no_queue_of_documents_takes_none(one_of_each) -> None:
    assert claim_next(queues=[MAINTENANCE]) is None


def test_owners_take_turns_inside_a_queue(owner, stranger, upload) -> None:
    for number in range(4):
        upload(owner, f"large {number}")
    upload(stranger, "one large")
    Document.objects.update(size=Document.LARGE_BYTES)
    upload(owner, "a small one in between")
    taken = [claim_next(queues=[INGEST_BULK]).owner_id for _ in range(3)]
    assert taken == [owner.pk, stranger.pk, owner.pk]


def test_who_puts_in_many_is_no_longer_interactive(owner, upload) -> None:
    first = upload(owner, "the first")
    assert queue_for(first) == INTERACTIVE
    for number in range(FEW):
        upload(owner, f"one more {number}")
    assert queue_for(first) == INGEST_SMALL
    assert claim_next(queues=[INTERACTIVE]) is None


@pytest.fixture
def served(monkeypatch):
    """``served({"ingest-small"}, {"embed"})``: this process serves the first; workers of the second are alive too."""

    def serve(own: set[str], others: set[str] = frozenset()) -> None:
        monkeypatch.setattr(taking, "served", lambda: frozenset(own))
        monkeypatch.setattr(heartbeat, "worker_is_alive", lambda *queues: bool({*own, *others} & set(queues)))
        monkeypatch.setattr(heartbeat, "_looked", {})

    return serve


@pytest.fixture
def woken(monkeypatch) -> list[str]:
    sent: list[str] = []
    monkeypatch.setattr(waking, "messages_in", lambda queue: 0)
    monkeypatch.setattr(waking.current_app, "send_task", lambda name, *, queue, **options: sent.append(queue))
    return sent


def test_a_split_document_is_given_over_to_a_worker_for_embedding(
    owner, upload, fake_encoder, sandbox_service, served, woken
) -> None:
    document = upload(owner, "Some words to be found.")
    served({INTERACTIVE, INGEST_SMALL}, {EMBED})
    tasks.process_next()
    document.refresh_from_db()
    assert (document.status, document.searchable, document.attempt, document.crashes) == ("embedding", True, None, 0)
    assert woken == [EMBED]
    tasks.process_next()
    document.refresh_from_db()
    assert document.status == "embedding"  # not taken back
    served({EMBED})
    tasks.process_next()
    document.refresh_from_db()
    assert document.status == "processed"


def test_without_a_worker_for_embedding_a_document_goes_the_whole_way(
    owner, stranger, upload, fake_encoder, sandbox_service, served, woken
) -> None:
    """Also one that stands there already, as after a change of the model."""
    documents = [upload(owner, "Some words."), upload(stranger, "Some others.")]
    served({INGEST_SMALL}, {EMBED})
    pipeline.process_next()
    served({INGEST_SMALL})
    while pipeline.process_next():
        pass
    assert {Document.objects.get(id=document.id).status for document in documents} == {"processed"}


def test_a_wake_up_goes_where_somebody_takes_the_document(owner, upload, served, woken) -> None:
    document = upload(owner)
    served(set(), {INTERACTIVE, INGEST_SMALL})
    waking.wake_for(document)
    served(set(), {INGEST_SMALL})
    waking.wake_for(document)
    waking.wake_worker(EMBED)
    served(set(), {INGEST_BULK})
    waking.wake_worker(EMBED)
    served(set())
    waking.wake_for(document)
    waking.wake_worker(INGEST_BULK)
    assert woken == [INTERACTIVE, INGEST_SMALL, INGEST_SMALL, INGEST_BULK, INTERACTIVE, INGEST_BULK]


def test_after_its_document_a_worker_wakes_its_own_kind_alone(one_of_each, served, woken) -> None:
    for own, sent in (({EMBED}, [EMBED]), ({INGEST_BULK}, [INGEST_BULK]), ({INTERACTIVE}, [INTERACTIVE])):
        woken.clear()
        served(own, {EMBED})
        taking.wake_own()
        assert woken == sent
    Document.objects.exclude(status="embedding").delete()
    woken.clear()
    served({INGEST_SMALL}, {EMBED})
    taking.wake_own()
    assert woken == []


def test_a_worker_grows_by_what_waits_in_its_own_queues(one_of_each, served) -> None:
    Document.objects.filter(id=one_of_each[INGEST_BULK].id).update(due_at=timezone.now() - timedelta(seconds=500))
    served({INGEST_SMALL, EMBED})
    assert read_signals().oldest_seconds < 400
    served({INGEST_BULK}, {EMBED})
    assert read_signals().oldest_seconds > 400


def test_a_worker_of_one_queue_reads_little_of_a_long_line_of_another(owner, upload) -> None:
    """Not row by row past hundreds of small ones to the one that is large."""
    template = upload(owner, "large")
    Document.objects.filter(id=template.id).update(size=Document.LARGE_BYTES)
    Document.objects.bulk_create(
        Document(owner=owner, filename=f"{number}.txt", content_type="text/plain", size=9, sha256=number.to_bytes(32))
        for number in range(300)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE documents_document")
    plan = claimable([INGEST_BULK]).explain(format="json")
    assert "document_bulk_idx" in plan
