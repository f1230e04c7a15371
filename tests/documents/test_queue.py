"""When a document will be done, why it is not, and what failed once more. Every state is really caused."""

import ast
import errno
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest
from django.conf import settings as site_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from documents.models import Collection, Document
from documents.queue.failures import ADVICE, WAITS, told
from documents.queue.models import Rate
from documents.queue.outlook import forecasts, site_outlook
from documents.queue.rates import Line, Measure, Measurement, measured_rates, record
from processing import pipeline
from processing.leases import claim_next
from ragsite.encoder.client import EncoderRejected
from ragsite.extraction import RefusalCode
from ragsite.heartbeat import announce
from ragsite.sandbox import SandboxUnavailable
from ragsite.sharding.line import has_work

TEXT = "text/plain"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_worker(settings) -> None:
    """A queue that no worker of this broker has ever taken from, whatever other tests do."""
    settings.DOCUMENT_QUEUES = (f"documents-{uuid4()}",)


@pytest.fixture
def worker_alive(no_worker, settings) -> None:
    announce(settings.DOCUMENT_QUEUES)


@pytest.fixture
def measured(db, worker_alive) -> None:
    """A machine that reads 1 MB of text in 10 s, finds 100 passages in it, and embeds one in 0.1 s."""
    for megabytes in (0.5, 2.0):
        record([Measurement(Measure.READING, TEXT, megabytes, 10 * megabytes)])
        record([Measurement(Measure.PASSAGES, TEXT, megabytes, 100 * megabytes)])
    for passages in (10, 100):
        record([Measurement(Measure.SPLITTING, "", passages, 0)])
        record([Measurement(Measure.EMBEDDING, site_settings.EMBEDDING_MODEL, passages, 0.1 * passages)])


def rows(owner, count, *, size=1_000_000, **values) -> list[Document]:
    """Documents in the queue, in this order, without files."""
    start = timezone.now() - timedelta(minutes=1)
    made = [
        Document(
            owner=owner,
            filename=f"{number}.txt",
            content_type=TEXT,
            size=size,
            sha256=os.urandom(32),
            uploaded_at=start + timedelta(milliseconds=number),
            due_at=start + timedelta(milliseconds=number),
            **values,
        )
        for number in range(count)
    ]
    has_work(owner.pk)
    return Document.objects.bulk_create(made)


def in_work(owner, count, **values) -> list[Document]:
    leased = {"lease_expires_at": timezone.now() + timedelta(seconds=30), "stage_started_at": timezone.now()}
    return rows(owner, count, size=1_000_001, **leased, **values)


def remaining(document: Document) -> float | None:
    document.refresh_from_db()
    return forecasts([document])[document.id].remaining


def why(client, document) -> dict:
    return client.get(f"/api/v1/documents/{document.id}/why").json()


def test_a_line_is_fitted_to_what_was_measured(db):
    for x in (1, 2, 4, 8):
        record([Measurement(Measure.READING, TEXT, x, 3 + 2 * x)])
    line = measured_rates().reading(TEXT)
    assert (line.base, line.slope) == (pytest.approx(3), pytest.approx(2))
    assert measured_rates().reading("application/pdf") is None


@pytest.mark.parametrize(
    ("points", "asked", "told"),
    [
        ([(2, 4), (2, 4)], 4, 8),  # all of one size: in proportion
        ([(1, 5), (2, 1)], 9, 3),  # falling: no slope at all
        ([(1, 0), (3, 4)], 0, 0),  # never less than nothing
    ],
)
def test_a_line_is_never_absurd(db, points, asked, told):
    for x, y in points:
        record([Measurement(Measure.READING, TEXT, x, y)])
    assert Line.through(Rate.objects.get()).at(asked) == pytest.approx(told, abs=0.2)


def test_the_newest_measurements_count_most(db):
    for seconds in [1.0] * 200 + [9.0] * 200:
        record([Measurement(Measure.READING, TEXT, 1, seconds)])
    assert measured_rates().reading(TEXT).at(1) == pytest.approx(9, rel=0.05)


@pytest.mark.django_db(transaction=True)
def test_a_measurement_never_waits_for_another_worker(db):
    record([Measurement(Measure.READING, TEXT, 1, 1)])
    locked, noted = threading.Event(), threading.Event()

    def hold() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM documents_rate FOR UPDATE")
            locked.set()
            noted.wait(60)
            cursor.execute("ROLLBACK")
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(60)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        record([Measurement(Measure.READING, TEXT, 1, 100)])
    finally:
        noted.set()
        holder.join()
    assert Rate.objects.get().weight == 1


def test_nothing_is_foretold_before_it_was_measured(owner, worker_alive, api):
    document = rows(owner, 1)[0]
    assert remaining(document) is None
    queue = api(owner).get("/api/v1/queue").json()
    assert (queue["waiting"], queue["remaining_seconds"], queue["measuring"]) == (1, None, True)


def test_a_document_alone_takes_what_its_own_work_takes(owner, measured):
    document = rows(owner, 1)[0]
    assert remaining(document) == pytest.approx(10 + 100 * 0.1, rel=0.01)
    leased = timezone.now() + timedelta(seconds=30)
    Document.objects.update(lease_expires_at=leased, status="extracting", stage_progress=0.5)
    assert remaining(document) == pytest.approx(5 + 10, rel=0.01)
    Document.objects.update(status="embedding", stage_progress=0.75, chunk_count=200, stage_seconds={"embedding": 60})
    assert remaining(document) == pytest.approx(5, rel=0.01)


def test_the_pace_of_a_document_itself_counts_more_than_that_of_others(owner, measured):
    document = in_work(owner, 1, status="embedding", stage_progress=0.25, chunk_count=10)[0]
    Document.objects.update(stage_started_at=timezone.now() - timedelta(seconds=100))
    assert remaining(document) == pytest.approx(300, rel=0.1)


def test_an_estimate_counts_the_places_and_those_who_come_first(owner, stranger, measured, settings):
    settings.PROCESSING_PLACES = 4
    in_work(stranger, 4)  # 20 s each, and they hold all places
    mine = rows(owner, 9)
    theirs = rows(stranger, 100)
    # The first of mine: one of theirs may have its turn before. 20 s until a place is free, 20 / 4 s, 20 s of its own.
    assert remaining(mine[0]) == pytest.approx(20 + 5 + 20, rel=0.05)
    # The middle one comes last: eight of mine before it and nine of theirs.
    assert remaining(mine[4]) == pytest.approx(20 + 17 * 20 / 4 + 20, rel=0.05)
    # What came last is the third of mine at the latest, however many there are.
    assert remaining(mine[-1]) < remaining(mine[4])
    assert remaining(theirs[50]) > remaining(mine[4])
    assert site_outlook().remaining() == pytest.approx(113 * 20 / 4, rel=0.05)
    assert site_outlook().remaining_of(owner.pk) == pytest.approx(18 * 20 / 4, rel=0.05)


def test_an_estimate_waits_for_the_next_try(owner, measured):
    document = rows(owner, 1)[0]
    Document.objects.update(due_at=timezone.now() + timedelta(seconds=500))
    assert remaining(document) == pytest.approx(520, rel=0.05)


def test_a_few_of_an_unmeasured_kind_do_not_hide_the_estimate_of_many(owner, measured):
    rows(owner, 20)
    Document.objects.filter(filename="3.txt").update(content_type="application/pdf")
    assert site_outlook().remaining() is not None
    Document.objects.filter(filename__startswith="1").update(content_type="application/pdf")
    assert site_outlook().remaining() is None


def test_what_is_processed_is_measured_and_the_next_like_it_foretold(owner, processed, upload, worker_alive):
    first = processed(owner, "A few words. " * 2000, "first.txt")
    took = sum(first.stage_seconds.values())
    second = upload(owner, "Other few words. " * 1600, "second.txt")
    assert took / 3 < remaining(second) < took * 3
    assert {rate.measure for rate in Rate.objects.all()} == set(Measure.values)


def test_embeddings_that_are_taken_over_are_no_measure(owner, processed):
    from documents.services import reprocess_documents

    document = processed(owner, "A few words. " * 200, "first.txt")
    before = Rate.objects.get(measure="embedding").weight
    reprocess_documents([document])
    pipeline.process_next()
    assert Rate.objects.get(measure="embedding").weight == before


def test_the_queue_is_ones_own_and_the_whole_one_is_for_staff(owner, stranger, staff, api, measured):
    rows(owner, 2)
    rows(stranger, 3, status="failed", error_code="broken", size=5)
    in_work(stranger, 1)
    mine = api(owner).get("/api/v1/queue").json()
    assert (mine["waiting"], mine["in_work"], mine["failed"], mine["worker_alive"]) == (2, 0, 0, True)
    assert mine["oldest_seconds"] > 50
    assert mine["remaining_seconds"] > 0 < len(mine["ready_at"])
    assert api(owner).get("/api/v1/queue?scope=site").status_code == 403
    site = api(staff).get("/api/v1/queue?scope=site").json()
    assert (site["waiting"], site["in_work"], site["failed"]) == (2, 1, 3)


def test_a_long_queue_is_not_counted_anew_for_everyone(owner, measured, monkeypatch):
    monkeypatch.setattr("documents.queue.outlook.COUNTED_ANEW", 1)
    rows(owner, 30)
    site_outlook()
    with CaptureQueriesContext(connection) as queries:
        assert site_outlook().waiting.count == 30
    assert len(queries) == 1  # the rates


def test_of_a_long_line_a_part_is_read_and_the_rest_takes_as_long(owner, measured, monkeypatch):
    monkeypatch.setattr("documents.queue.outlook.SAMPLED", 5)
    monkeypatch.setattr("documents.queue.outlook.MOST_COUNTED", 20)
    line = rows(owner, 30)
    assert site_outlook().waiting.count == 20
    assert site_outlook().remaining() == pytest.approx(20 * 20 / site_settings.PROCESSING_PLACES, rel=0.05)
    found = forecasts(line)
    ahead = [found[document.id].ahead for document in line]
    assert ahead[:10] == [2 * place for place in range(10)]
    assert ahead[10:20] == [18] * 10  # far from both ends
    assert ahead[20:] == [2 * place for place in reversed(range(10))]


def test_the_pages_tell_how_long_it_takes(owner, upload, measured, signed_in):
    document = upload(owner, "Some words.", "note.txt")
    client = signed_in(owner)
    assert "1 document in work, about" in client.get("/library/").content.decode()
    progress = client.get(f"/library/progress/?id={document.id}").content.decode()
    assert 'id="queue-words" hx-swap-oob="true">1 document in work, about' in progress
    page = client.get(f"/library/{document.id}/").content.decode()
    assert "About" in page
    assert f"/library/{document.id}/why/" in page
    assert "It waits for its turn, and is next." in client.get(f"/library/{document.id}/why/").content.decode()


def test_staff_see_the_queue_and_why_in_the_admin(owner, staff, upload, worker_alive, signed_in):
    document = upload(owner, "Some words.", "note.txt")
    listed = signed_in(staff).get("/admin/documents/document/").content.decode()
    assert "1 document in work, measuring how long it takes" in listed
    shown = signed_in(staff).get(f"/admin/documents/document/{document.id}/change/").content.decode()
    assert "It waits for its turn, and is next." in shown
    Document.objects.update(status="processed", warnings=["secret.pdf could not be read."])
    shown = signed_in(staff).get(f"/admin/documents/document/{document.id}/change/").content.decode()
    assert "something in it could not be read" in shown
    assert "secret.pdf" not in shown


# Why it is not done: each state, caused.


def test_why_turn(owner, stranger, upload, api, worker_alive):
    upload(stranger, "before")
    document = upload(owner, "words")
    told = why(api(owner), document)
    assert (told["state"], told["waits_for"], told["documents_ahead"]) == ("waiting_for_turn", "turn", 1)
    assert "about 1 document comes first" in told["sentence"]
    assert told["since"]
    assert api(stranger).get(f"/api/v1/documents/{document.id}/why").status_code == 404


def test_why_no_worker(owner, upload, api, signed_in, no_worker):
    document = upload(owner, "words")
    told = why(api(owner), document)
    assert (told["state"], told["waits_for"], told["remaining_seconds"]) == ("no_worker", "worker", None)
    assert told["action"] == {"label": "See which parts of the site run", "method": "GET", "url": "/readyz"}
    assert "but no worker is running" in signed_in(owner).get("/library/").content.decode()


def test_why_in_work_and_then_its_worker_died(owner, upload, api, worker_alive):
    document = upload(owner, "words")
    claim_next()
    Document.objects.update(status="extracting", stage_progress=0.5, stage_started_at=timezone.now())
    told = why(api(owner), document)
    assert (told["state"], told["waits_for"]) == ("in_work", "extracting")
    assert "50%" in told["sentence"]
    Document.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    told = why(api(owner), document)
    assert told["state"] == "worker_lost"
    assert "for the first time" in told["sentence"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (SandboxUnavailable("away"), "sandbox_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage_unavailable"),
        (connection.Database.OperationalError("gone"), None),
    ],
)
def test_why_it_backs_off(owner, upload, api, fake_encoder, monkeypatch, worker_alive, fault, code):
    from django.db import OperationalError

    document = upload(owner, "words")

    def fail(*args, **kwargs):
        raise fault if code else OperationalError("server closed the connection")

    monkeypatch.setattr("processing.pipeline.SandboxClient.extract", fail)
    pipeline.process_next()
    told = why(api(owner), document)
    assert (told["state"], told["waits_for"]) == ("backing_off", code or "database_unavailable")
    assert told["next_try_at"] > told["since"]
    assert told["sentence"] == WAITS[told["waits_for"]]


def test_why_the_encoder_is_down(owner, upload, api, fake_encoder, sandbox_service, worker_alive):
    document = upload(owner, "words")
    fake_encoder.down = True
    pipeline.process_next()
    told = why(api(owner), document)
    assert (told["state"], told["waits_for"]) == ("backing_off", "encoder_unavailable")


def test_why_it_failed_and_what_helps(owner, api, processed):
    document = processed(owner, b"%PDF-1.7\nthis is no pdf", "broken.pdf")
    told = why(api(owner), document)
    assert told["state"] == "failed"
    assert told["action"]["url"] == "/api/v1/documents"
    assert told["sentence"] == document.error_detail
    Document.objects.update(error_retryable=True)
    assert why(api(owner), document)["action"]["url"] == f"/api/v1/documents/{document.id}/retry"


def test_why_it_crashed(owner, upload, api, fake_encoder, settings):
    document = upload(owner, "words")
    Document.objects.update(crashes=settings.PROCESSING_MAX_CRASHES)
    pipeline.process_next()
    told = why(api(owner), document)
    assert "stopped 5 times" in told["sentence"]
    assert "Try again" in told["sentence"]
    assert told["action"]["label"] == "Try again"


def test_why_nothing_is_wrong(owner, api, processed, signed_in):
    document = processed(owner, "Some words.", "note.txt")
    assert why(api(owner), document)["state"] == "processed"
    Document.objects.update(warnings=["A page could not be read."])
    told = why(api(owner), document)
    assert told["state"] == "processed_with_warnings"
    assert "A page could not be read." in told["sentence"]
    assert "How it went" in signed_in(owner).get(f"/library/{document.id}/why/").content.decode()


def test_a_strangers_explanation_is_nowhere(owner, stranger, upload, signed_in):
    document = upload(owner, "words")
    assert signed_in(stranger).get(f"/library/{document.id}/why/").status_code == 404


# All that failed, once more.


def failed(owner, count, **values) -> list[Document]:
    return rows(owner, count, status="failed", **{"error_code": "timeout", "error_retryable": True, **values})


def test_all_that_failed_is_tried_again_by_one_statement(owner, stranger, api):
    failed(owner, 30)
    failed(stranger, 1)
    with CaptureQueriesContext(connection) as queries:
        answer = api(owner).post("/api/v1/documents/retry")
    assert (answer.status_code, answer.json()) == (202, {"retried": 30, "failed": 0})
    assert sum("UPDATE" in query["sql"] and "documents_document" in query["sql"] for query in queries) == 1
    assert Document.objects.failed().get().owner == stranger
    assert set(Document.objects.for_user(owner).values_list("status", "error_code")) == {("uploaded", "")}


@pytest.mark.parametrize(
    ("narrowed", "left"),
    [
        ({"retryable_only": True}, {"broken"}),
        ({"code": "broken"}, {"timeout"}),
        ({"content_type": "application/pdf"}, {"broken", "timeout"}),
    ],
)
def test_what_is_tried_again_can_be_narrowed(owner, api, narrowed, left):
    failed(owner, 2)
    failed(owner, 1, error_code="broken", error_retryable=False)
    api(owner).post("/api/v1/documents/retry", narrowed)
    assert set(Document.objects.failed().values_list("error_code", flat=True)) == left


def test_a_collection_is_tried_again(owner, stranger, api, signed_in):
    documents = failed(owner, 3)
    collection = Collection.objects.create(owner=owner, name="Some")
    for document in documents[:2]:
        collection.memberships.create(owner=owner, document=document)
    answer = api(stranger).post("/api/v1/documents/retry", {"collection": str(collection.id)})
    assert answer.json()["retried"] == 0
    signed_in(owner).post("/library/retry/", {"collection": str(collection.id)})
    assert Document.objects.failed().get().id == documents[2].id


def test_no_more_than_a_statement_should_change_is_tried_again_at_once(owner, api, monkeypatch):
    monkeypatch.setattr("documents.services.MOST_RETRIED", 4)
    failed(owner, 6)
    assert api(owner).post("/api/v1/documents/retry").json() == {"retried": 4, "failed": 2}


def test_the_library_has_a_button_for_all_that_failed(owner, signed_in):
    failed(owner, 3)
    client = signed_in(owner)
    assert "Try 3 failed again" in client.get("/library/").content.decode()
    page = client.post("/library/retry/", follow=True).content.decode()
    assert "3 documents are tried again." in page
    assert "failed again" not in page


# Every failure says what and what to do.


def codes_in(path: Path) -> set[str]:
    """The codes that a module names where it refuses or fails a document."""
    names = {"ExtractionRefused", "ProcessingFailed", "_send_error"}
    return {
        argument.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " not in argument.value
    }


def test_every_code_has_a_sentence_that_says_what_to_do():
    found = set().union(*(codes_in(path) for path in (ROOT / "processing").rglob("*.py")))
    assert found >= {"broken", "crashed", "file_missing", "too_large"}
    assert found | set(get_args(RefusalCode)) | {"embedding_rejected"} <= set(ADVICE)
    for code, advice in ADVICE.items():
        assert advice.endswith("."), code
        assert told(code, "It is so.") == f"It is so. {advice}"


def test_a_sentence_that_says_what_to_do_is_left_as_it_is():
    assert told("broken", "It is damaged. Save it anew.") == "It is damaged. Save it anew."


def test_a_model_that_refuses_fails_the_document_with_advice(owner, upload, fake_encoder, sandbox_service, monkeypatch):
    document = upload(owner, "words")

    def refuse(texts):
        raise EncoderRejected("The encoder refused with 401: no key.")

    monkeypatch.setattr(fake_encoder, "embed_passages", refuse)
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.error_code, document.error_retryable) == ("embedding_rejected", True)
    assert document.error_detail.endswith(ADVICE["embedding_rejected"])
