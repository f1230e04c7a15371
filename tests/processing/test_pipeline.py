"""The way of a document, and every fault that it can meet."""

import errno
import itertools
import threading
import uuid
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from documents import services
from documents.models import Chunk, Document, DocumentText, Embedding
from documents.queue import waking
from processing import leases, pipeline, tasks
from processing.leases import Lease, LeaseLost, claim_next
from ragsite.routes import INGEST_SMALL, INTERACTIVE
from ragsite.sandbox import SandboxUnavailable

MARKDOWN = "# Rivers\n\nThe Amazon flows through Peru.\n\n## Europe\n\nThe Danube flows through Vienna and Budapest.\n"


def positions(document: Document) -> list[int]:
    return list(Chunk.objects.of(document).values_list("position", flat=True))


def vectors(document: Document) -> int:
    """Of whole chunks."""
    return Embedding.objects.filter(owner=document.owner_id, document_id=document.id, part=0).count()


def embedded_parts(document: Document) -> int:
    """What went through the encoder: a mean has no place in the text."""
    rows = Embedding.objects.filter(owner=document.owner_id, document_id=document.id)
    return rows.exclude(start=None).count()


def process_all() -> None:
    while pipeline.process_next():
        pass


def due_now() -> None:
    Document.objects.in_work().update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_document_is_extracted_chunked_and_embedded(owner, processed):
    document = processed(owner, MARKDOWN, "rivers.md")
    assert document.status == "processed"
    assert document.searchable
    assert document.title == "Rivers"
    assert document.chunk_count == len(positions(document)) == vectors(document) > 0
    assert set(document.stage_seconds) == {"extracting", "chunking", "embedding"}
    assert DocumentText.objects.get(document=document).text == MARKDOWN
    for chunk in Chunk.objects.of(document):
        assert MARKDOWN[chunk.start : chunk.end] == chunk.text


def test_the_same_task_twice_does_the_work_once(owner, processed, fake_encoder):
    document = processed(owner, MARKDOWN, "rivers.md")
    embedded = len(fake_encoder.embedded)
    tasks.process_next()
    tasks.process_next()
    assert len(fake_encoder.embedded) == embedded == embedded_parts(document)
    assert positions(document) == list(range(document.chunk_count))


def test_reprocessing_replaces_the_chunks_and_embeds_nothing_again(owner, processed, fake_encoder):
    document = processed(owner, MARKDOWN, "rivers.md")
    embedded = len(fake_encoder.embedded)
    assert services.reprocess_documents([document]) == 1
    assert Document.objects.get(id=document.id).searchable  # as it is, until the new chunks replace the old
    process_all()
    assert len(fake_encoder.embedded) == embedded
    assert positions(document) == list(range(document.chunk_count))
    assert vectors(document) == document.chunk_count


def test_another_owners_embeddings_are_not_taken_over(owner, stranger, processed, fake_encoder):
    processed(owner, MARKDOWN, "rivers.md")
    embedded = len(fake_encoder.embedded)
    processed(stranger, MARKDOWN, "rivers.md")
    assert len(fake_encoder.embedded) == 2 * embedded


def test_a_worker_killed_while_embedding_is_followed_by_one_that_goes_on_there(
    owner, upload, fake_encoder, sandbox_service, monkeypatch
):
    monkeypatch.setattr(pipeline, "EMBED_BATCH", 8)
    document = upload(owner, LONG, "long.md")

    class Killed(BaseException):
        pass

    real = fake_encoder.embed_passages
    calls = itertools.count(1)  # from two threads

    def embed(texts):
        if next(calls) == 2:
            raise Killed
        return real(texts)

    monkeypatch.setattr(fake_encoder, "embed_passages", embed)
    with pytest.raises(Killed):
        pipeline.process_next()
    document.refresh_from_db()
    assert document.status == "embedding"
    assert document.searchable  # by words, before it is embedded
    assert claim_next() is None  # leased by the one that died, as far as anyone knows
    Document.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    process_all()
    document.refresh_from_db()
    assert document.status == "processed"
    # What was at the encoder and not yet written is computed again, what was written is not.
    assert embedded_parts(document) <= len(fake_encoder.embedded) < 1.5 * embedded_parts(document)
    assert document.chunk_count == vectors(document)
    assert positions(document) == list(range(document.chunk_count))


def test_a_document_that_keeps_killing_its_worker_fails_and_says_so(owner, upload, fake_encoder, settings):
    document = upload(owner)
    for _ in range(settings.PROCESSING_MAX_CRASHES + 1):
        claim_next()
        Document.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    process_all()
    document.refresh_from_db()
    assert (document.status, document.error_code, document.error_retryable) == ("failed", "crashed", True)


def test_a_worker_whose_lease_was_taken_over_changes_nothing_any_more(owner, upload, fake_encoder):
    upload(owner)
    first = claim_next()
    Document.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    second = claim_next()
    assert second.attempt != first.attempt
    with pytest.raises(LeaseLost):
        Lease(first).update(stage_progress=0.5)
    with pytest.raises(LeaseLost), Lease(first).writing():
        pytest.fail("the transaction must not begin")


def test_a_document_deleted_while_it_is_processed_leaves_nothing(
    owner, upload, fake_encoder, sandbox_service, monkeypatch, django_capture_on_commit_callbacks
):
    document = upload(owner, MARKDOWN, "rivers.md")
    real = pipeline.encoded_ahead

    def delete_meanwhile(batches):
        for encoded in real(batches):
            with django_capture_on_commit_callbacks(execute=True):
                services.delete_documents(owner_id=owner.pk, documents=[document.id])
            yield encoded

    monkeypatch.setattr(pipeline, "encoded_ahead", delete_meanwhile)
    process_all()
    assert not Document.objects.filter(id=document.id).exists()
    assert positions(document) == []
    assert vectors(document) == 0
    assert not default_storage.exists(document.file.name)


def test_a_dead_encoder_delays_and_the_document_goes_on_by_itself(owner, upload, fake_encoder, sandbox_service):
    document = upload(owner, MARKDOWN, "rivers.md")
    fake_encoder.down = True
    pipeline.process_next()
    document.refresh_from_db()
    assert document.status == "embedding"
    assert document.searchable
    assert "embedding model" in document.waiting_for
    assert document.due_at > timezone.now()
    fake_encoder.down = False
    due_now()
    process_all()
    document.refresh_from_db()
    assert (document.status, document.waiting_for) == ("processed", "")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (SandboxUnavailable("away"), "reading service"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OperationalError("server closed the connection"), "database"),
    ],
)
def test_a_passing_fault_delays_and_says_what_it_waits_for(owner, upload, fake_encoder, monkeypatch, fault, told):
    document = upload(owner, MARKDOWN, "rivers.md")

    def fail(*args, **kwargs):
        raise fault

    monkeypatch.setattr("processing.pipeline.SandboxClient.extract", fail)
    pipeline.process_next()
    document.refresh_from_db()
    assert document.status == "extracting"
    assert told in document.waiting_for
    assert document.lease_expires_at is None


def test_an_unexpected_fault_fails_the_document_and_not_the_worker(owner, upload, fake_encoder, monkeypatch):
    document = upload(owner)
    monkeypatch.setattr("processing.pipeline._run_stages", lambda lease: 1 / 0)
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.status, document.error_code, document.error_retryable) == ("failed", "internal_error", True)
    assert "division" not in document.error_detail


def test_a_file_that_is_gone_fails_with_a_reason(owner, upload, fake_encoder, sandbox_service):
    document = upload(owner)
    default_storage.delete(document.file.name)
    pipeline.process_next()
    document.refresh_from_db()
    assert document.error_code == "file_missing"


def test_a_broken_pdf_fails_with_a_reason_and_can_be_retried(owner, processed):
    document = processed(owner, b"%PDF-1.7\nthis is no pdf", "broken.pdf")
    assert document.status == "failed"
    assert document.error_code == "broken"
    assert document.error_detail
    assert services.retry_documents([document]) == 1
    document.refresh_from_db()
    assert (document.status, document.error_code) == ("uploaded", "")


def test_the_next_document_is_one_of_the_owner_with_least_in_work(owner, stranger, upload):
    for number in range(3):
        upload(owner, f"first {number}")
    late = upload(stranger, "second")
    assert claim_next().owner_id == owner.pk
    assert claim_next().id == late.id
    assert claim_next().owner_id == owner.pk
    assert claim_next().owner_id == owner.pk
    assert claim_next() is None


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_claim_the_same_document(owner, upload):
    for number in range(20):
        upload(owner, f"text {number}")
    claimed: list[uuid.UUID] = []

    def work():
        while document := claim_next():
            claimed.append(document.id)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed))
    while document := claim_next():  # a claim may have found all of its candidates locked
        claimed.append(document.id)
    assert len(claimed) == len(set(claimed)) == 20


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_renewed_while_the_work_goes_on(owner, upload, monkeypatch, settings):
    settings.PROCESSING_LEASE_SECONDS = 0.3
    upload(owner)
    document = claim_next()
    renewed = threading.Event()
    real = leases.Lease._renew_once

    def renew(self):
        real(self)
        renewed.set()

    monkeypatch.setattr(leases.Lease, "_renew_once", renew)
    before = document.lease_expires_at
    with Lease(document):
        assert renewed.wait(10)
    assert Document.objects.get(id=document.id).lease_expires_at > before


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_delays_nothing_but_the_waking(owner, upload, settings, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no broker")

    monkeypatch.setattr("documents.queue.waking.current_app.send_task", refuse)
    document = upload(owner)
    assert document.status == "uploaded"
    woken = []
    monkeypatch.setattr("documents.queue.waking.wake_worker", woken.append)
    tasks.wake_workers()
    assert set(woken) == {INTERACTIVE, INGEST_SMALL}


def test_a_failed_transaction_while_chunks_are_written_leaves_the_old_ones(owner, processed, monkeypatch):
    document = processed(owner, MARKDOWN, "rivers.md")
    before = list(Chunk.objects.of(document).values_list("position", "text"))
    services.reprocess_documents([document])

    def fail(*args, **kwargs):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")

    with monkeypatch.context() as patch, transaction.atomic():
        patch.setattr("processing.writing.copy_rows", fail)
        pipeline.process_next()
    assert list(Chunk.objects.of(document).values_list("position", "text")) == before


@pytest.mark.parametrize(
    ("filename", "title", "called"),
    [
        ("2022 Q3 AAPL.pdf", "Form 10-Q", "2022 Q3 AAPL: Form 10-Q"),
        ("French_and_Indian_War.md", "French and Indian War", "French and Indian War"),
        ("rivers.md", "Rivers of Europe", "Rivers of Europe"),
        ("annual report 2022.pdf", "Annual Report", "annual report 2022"),
        ("notes.txt", None, "notes"),
    ],
)
def test_a_document_is_called_by_its_name_and_by_its_title_where_that_says_more(filename, title, called):
    assert pipeline.title_of(filename, title) == called


@pytest.mark.parametrize("again", [services.retry_documents, services.reprocess_documents])
def test_a_document_that_crashed_its_workers_gets_a_new_chance_when_asked(owner, processed, again):
    document = processed(owner, MARKDOWN, "rivers.md")
    Document.objects.update(status="failed", error_code="crashed", error_detail="It crashed.", crashes=5)
    assert again([document]) == 1
    process_all()
    document.refresh_from_db()
    assert (document.status, document.crashes) == ("processed", 0)


def test_a_newcomer_does_not_wait_behind_the_queues_of_others(owner, stranger, staff, upload):
    for number in range(10):
        upload(owner, f"first {number}")
        upload(stranger, f"second {number}")

    def finish_next() -> int:
        document = claim_next()
        Document.objects.filter(id=document.id).update(status="processed", lease_expires_at=None)
        return document.owner_id

    assert {finish_next(), finish_next()} == {owner.pk, stranger.pk}
    upload(staff, "third")
    assert finish_next() == staff.pk
    assert [finish_next() for _ in range(4)].count(owner.pk) == 2


def test_attempts_are_not_counted_beyond_what_the_column_holds(owner, upload):
    upload(owner)
    Document.objects.update(attempts=32767, crashes=32767, lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert claim_next() is not None


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        (errno.EACCES, "storage_error", True),
        (errno.EISDIR, "storage_error", True),
        (errno.ENOENT, "file_missing", False),
    ],
)
def test_a_fault_of_the_storage_that_stays_fails_the_document(
    owner, upload, fake_encoder, monkeypatch, number, code, retryable
):
    document = upload(owner)

    def fail(*args, **kwargs):
        raise OSError(number, "a fault")

    monkeypatch.setattr("processing.pipeline.SandboxClient.extract", fail)
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.status, document.error_code, document.error_retryable) == ("failed", code, retryable)


def test_uploading_again_mends_a_document_whose_file_is_gone(owner, upload, fake_encoder, sandbox_service):
    document = upload(owner, MARKDOWN, "rivers.md")
    default_storage.delete(document.file.name)
    process_all()
    assert upload(owner, MARKDOWN, "rivers.md").id == document.id
    process_all()
    document.refresh_from_db()
    assert document.status == "processed"


def test_words_are_found_while_the_encoder_is_away(owner, upload, fake_encoder, sandbox_service, monkeypatch):
    from ragsite.encoder.client import EncoderUnavailable

    class Away(type(fake_encoder)):
        @property
        def dimensions(self):
            raise EncoderUnavailable("away")

        def count_tokens(self, texts):
            raise EncoderUnavailable("away")

    monkeypatch.setattr("ragsite.embedding._client", Away)
    document = upload(owner, MARKDOWN, "rivers.md")
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.status, document.searchable) == ("embedding", True)
    assert positions(document) == list(range(document.chunk_count))


LONG = "\n\n".join(f"# H{i}\n\n" + f"fact{i} " * 100 for i in range(40))


def test_a_long_document_lets_others_in_and_goes_on_where_it_was(
    owner, stranger, upload, fake_encoder, sandbox_service, monkeypatch
):
    monkeypatch.setattr("processing.pipeline.SLICE_SECONDS", -1.0)
    monkeypatch.setattr("processing.pipeline.EMBED_BATCH", 8)
    long = upload(owner, LONG, "long.md")
    upload(stranger, MARKDOWN, "rivers.md")
    assert pipeline.process_next().id == long.id
    long.refresh_from_db()
    assert (long.status, long.crashes, long.lease_expires_at, long.waiting_for) == ("embedding", 0, None, "")
    monkeypatch.undo()
    monkeypatch.setattr("ragsite.embedding._client", lambda: fake_encoder)
    assert pipeline.process_next().owner_id == stranger.pk
    process_all()
    long.refresh_from_db()
    assert long.status == "processed"
    assert vectors(long) == long.chunk_count


def test_a_time_limit_gives_the_document_back(owner, upload, fake_encoder, sandbox_service, monkeypatch):
    from celery.exceptions import SoftTimeLimitExceeded

    document = upload(owner, MARKDOWN, "rivers.md")

    def run_out(texts):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(fake_encoder, "embed_passages", run_out)
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.status, document.error_code, document.lease_expires_at) == ("embedding", "", None)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_cut_in_the_middle_gives_the_document_back(
    owner, upload, fake_encoder, sandbox_service, monkeypatch
):
    document = upload(owner, MARKDOWN, "rivers.md")

    def cut(texts):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(fake_encoder, "embed_passages", cut)
        pipeline.process_next()
    document.refresh_from_db()
    assert (document.lease_expires_at, document.attempt, document.crashes) == (None, None, 0)
    due_now()
    process_all()
    document.refresh_from_db()
    assert document.status == "processed"


def test_wakeful_messages_do_not_pile_up_while_no_worker_takes_them(monkeypatch, settings):
    sent = []
    monkeypatch.setattr("documents.queue.waking.messages_in", lambda queue: len(sent))
    monkeypatch.setattr("documents.queue.waking.current_app.send_task", lambda *args, **kwargs: sent.append(args))
    for _ in range(100):
        waking.wake_worker(INGEST_SMALL)
    assert len(sent) == settings.PROCESSING_WAKE_LIMIT
