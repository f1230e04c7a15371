"""Who is worked on next, and what a small document never waits for."""

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings as site_settings
from django.db import connection
from django.utils import timezone

from documents.models import Document
from processing import pipeline
from processing.admission import SUSPECT_CRASHES, Admission
from processing.leases import claim_next
from ragsite.layout import PROJECT_DIR, Layout
from ragsite.sandbox import SandboxUnavailable
from tests.instance import until

LARGE = "many words " * (Document.LARGE_BYTES // 10)


def finish_next() -> Document:
    document = claim_next()
    assert document is not None
    Document.objects.filter(id=document.id).update(status="processed", lease_expires_at=None)
    return document


def test_what_an_owner_put_in_last_is_taken_in_turn_with_what_waits_longest(owner, upload):
    names = [upload(owner, f"text {number}", f"{number}.txt").filename for number in range(6)]
    taken = [finish_next().filename for _ in names]
    assert taken == ["0.txt", "5.txt", "1.txt", "4.txt", "2.txt", "3.txt"]


def test_a_file_behind_a_thousand_of_ones_own_is_the_second_to_be_taken(owner, upload):
    row = upload(owner, "the first")
    Document.objects.bulk_create(
        Document(owner=owner, filename=f"{number}.txt", content_type="text/plain", size=9, sha256=number.to_bytes(32))
        for number in range(1000)
    )
    late = upload(owner, "the last")
    assert [finish_next().id, finish_next().id] == [row.id, late.id]


def test_what_was_begun_and_given_back_does_not_count_as_new(owner, upload):
    begun = upload(owner, "begun")
    fresh = [upload(owner, f"text {number}").id for number in range(2)]
    claim_next()
    Document.objects.filter(id=begun.id).update(status="embedding", lease_expires_at=None, due_at=timezone.now())
    assert finish_next().id == fresh[1]


def test_large_documents_leave_half_of_the_places_to_small_ones(owner, stranger, upload, settings):
    settings.PROCESSING_PLACES = 4
    for number in range(3):
        upload(owner, f"{number} {LARGE}")
    small = [upload(owner, "small"), upload(stranger, "small")]
    admission = Admission()
    taken = [admission.claim() for _ in range(5)]
    assert sum(document.is_large for document in taken if document) == 2
    assert {document.id for document in taken if document and not document.is_large} == {row.id for row in small}
    assert taken[4] is None  # a third large one is due, and a place is free
    admission.leave(next(document.attempt for document in taken if document.is_large))
    assert admission.claim().is_large


def test_a_site_with_one_place_takes_large_documents_too(owner, upload, settings):
    settings.PROCESSING_PLACES = 1
    upload(owner, LARGE)
    assert Admission().claim().is_large


@pytest.mark.django_db(transaction=True)
def test_a_small_document_is_processed_while_large_ones_are_being_read(
    owner, upload, fake_encoder, sandbox_service, monkeypatch
):
    """The reading of the large ones does not end before the small one is processed."""
    may_end = threading.Event()
    read = pipeline.SandboxClient.extract

    def extract(self, file, *args, **kwargs):
        if file.size >= Document.LARGE_BYTES:
            assert may_end.wait(60)
            raise SandboxUnavailable("The large ones are not read in this test.")
        return read(self, file, *args, **kwargs)

    monkeypatch.setattr(pipeline.SandboxClient, "extract", extract)
    for number in range(3):
        upload(owner, f"{number} {LARGE[: Document.LARGE_BYTES]}")
    small = upload(owner, "A small one.")

    def work() -> None:
        try:
            while not may_end.is_set():
                pipeline.process_next()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert until(lambda: Document.objects.get(id=small.id).status == "processed")
        assert Document.objects.filter(status="extracting").count() == 2
    finally:
        may_end.set()
        for thread in threads:
            thread.join()


def test_a_document_that_killed_workers_is_worked_on_alone(owner, stranger, upload):
    admission = Admission()
    upload(owner, "innocent")
    innocent = admission.claim()
    suspect = upload(owner, "suspect")
    Document.objects.filter(id=suspect.id).update(crashes=SUSPECT_CRASHES)
    upload(stranger, "another")
    Document.objects.filter(owner=stranger).update(due_at=timezone.now() + timedelta(hours=1))
    claimed = admission.claim()
    assert claimed.id == suspect.id
    Document.objects.filter(owner=stranger).update(due_at=timezone.now() - timedelta(hours=1))
    assert admission.claim() is None
    alone = threading.Event()
    waiting = threading.Thread(target=lambda: (admission.wait_until_alone(claimed), alone.set()))
    waiting.start()
    assert not alone.is_set()
    admission.leave(innocent.attempt)
    assert alone.wait(60)
    waiting.join()
    assert admission.claim() is None
    admission.leave(claimed.attempt)
    assert admission.claim().owner_id == stranger.pk


def test_a_process_that_is_told_to_stop_gives_its_documents_back(owner, upload):
    admission = Admission()
    upload(owner, "one")
    upload(owner, "two")
    admission.claim()
    admission.close()
    assert admission.claim() is None
    assert {(row.attempt, row.lease_expires_at) for row in Document.objects.all()} == {(None, None)}
    assert claim_next().crashes == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox's sockets are Linux's")
@pytest.mark.django_db(transaction=True)
def test_a_stop_of_the_worker_neither_waits_for_a_document_nor_counts_as_a_crash(owner, upload, layout, tmp_path):
    document = upload(owner, "It is read for ever.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sandbox:
        process = worker_with_sandbox(sandbox, layout, tmp_path)
        try:
            current_app.send_task("processing.tasks.process_next")
            sandbox.settimeout(60)
            accepted, _ = sandbox.accept()  # the document is in the sandbox, and no answer comes
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            accepted.close()
    document.refresh_from_db()
    assert (document.status, document.attempt, document.crashes) == ("extracting", None, 0)
    assert claim_next().crashes == 0


def worker_with_sandbox(sandbox: socket.socket, layout: Layout, folder: Path) -> "subprocess.Popen[bytes]":
    """A worker as `manage.py up` starts it, on the tests' database, broker and files."""
    mine = Layout(folder)
    mine.create()
    mine.files_dir.rmdir()
    mine.files_dir.symlink_to(layout.files_dir)
    sandbox.bind(str(mine.sandbox_socket))
    sandbox.listen()
    database = connection.settings_dict
    server = f"host={database['HOST']}&port={database['PORT'] or 5432}"
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}?{server}"
    command = [sys.executable, "-m", "celery", "--app=ragsite", "--quiet", "worker", "--without-gossip"]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "ragsite.settings",
        "REDIS_URL": site_settings.REDIS_URL,
        "DATABASE_URL": url,
        "RAGSITE_DATA_DIR": str(folder),
    }
    options = ["--queues=interactive,ingest-small", "--pool=threads", "--concurrency=4"]
    return subprocess.Popen([*command, *options], cwd=PROJECT_DIR, env=environment, stderr=subprocess.DEVNULL)
