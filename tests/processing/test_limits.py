"""The time limits of tasks in threads: the soft one gives a document back, the hard one ends the worker."""

import os
import socket
import subprocess
import sys

import pytest
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings as site_settings
from django.db import connection

from documents.models import Document
from processing import pipeline
from processing.admission import Admission
from processing.tasks import process_next
from ragsite import limits
from ragsite.embedded.program import PROJECT_DIR
from ragsite.layout import Layout
from ragsite.limits import EXIT_CODE
from ragsite.routes import PROCESS_NEXT
from tests.instance import until

IMPATIENT = """
from ragsite import routes
routes.ROUTES[routes.PROCESS_NEXT] = routes.Route(routes.INGEST_SMALL, soft=1, hard=2)
import sys
from celery.__main__ import main
sys.argv[:1] = ["celery"]
main()
"""
"""A worker whose documents have two seconds."""


@pytest.fixture
def in_task(monkeypatch):
    """``in_task(soft, hard)``: this thread runs a task with these limits, in seconds from now."""

    def enter(soft: float, hard: float) -> None:
        task = process_next
        monkeypatch.setattr(task, "soft_time_limit", soft)
        monkeypatch.setattr(task, "time_limit", hard)
        limits.begin(sender=task)

    yield enter
    limits.end()


def test_work_in_no_task_has_no_limit() -> None:
    limits.check()
    assert limits.overdue() == []


def test_a_soft_limit_is_told_to_who_asks_and_a_hard_one_to_the_worker(in_task) -> None:
    in_task(60, 120)
    limits.check()
    assert limits.overdue() == []
    in_task(-1, 60)
    with pytest.raises(SoftTimeLimitExceeded):
        limits.check()
    assert limits.overdue() == []
    in_task(-2, -1)
    assert [running.name for running in limits.overdue()] == [PROCESS_NEXT]
    limits.end()
    limits.check()
    assert limits.overdue() == []


def test_a_document_that_has_had_its_time_is_given_back_and_gone_on_with(
    owner, upload, fake_encoder, sandbox_service, in_task, monkeypatch
) -> None:
    document = upload(owner, "\n\n".join(f"Sentence {number} says something else. " * 4 for number in range(200)))
    monkeypatch.setattr(pipeline, "EMBED_BATCH", 16)
    in_task(-1, 60)
    pipeline.process_next()
    document.refresh_from_db()
    assert (document.status, document.attempt, document.crashes, document.searchable) == ("embedding", None, 0, True)
    assert 0 < document.stage_progress < 1
    limits.end()
    pipeline.process_next()
    document.refresh_from_db()
    assert document.status == "processed"


def test_what_hangs_is_not_given_back_with_the_others(owner, upload) -> None:
    upload(owner, "innocent")
    upload(owner, "hangs")
    admission = Admission()
    innocent, hanging = admission.claim(), admission.claim()
    admission._threads[hanging.attempt] = 1
    admission.close(hanging=[1])
    assert Document.objects.get(id=innocent.id).attempt is None
    assert Document.objects.get(id=hanging.id).attempt == hanging.attempt


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox's sockets are Linux's")
@pytest.mark.django_db(transaction=True)
def test_a_worker_whose_task_hangs_ends_and_says_where(owner, upload, layout, tmp_path) -> None:
    document = upload(owner, "It is read for ever.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sandbox:
        process = worker_with_sandbox(sandbox, layout, Layout(tmp_path), tmp_path / "log")
        try:
            current_app.send_task(PROCESS_NEXT)
            sandbox.settimeout(60)
            accepted, _ = sandbox.accept()  # the document is in the sandbox, and no answer comes
            assert until(lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait()
            accepted.close()
    log = (tmp_path / "log").read_text()
    assert process.returncode == EXIT_CODE, log
    assert "has passed its hard limit" in log
    assert "_read_answer" in log
    document.refresh_from_db()
    assert document.attempt is not None  # its lease runs out, which counts as a crash


def worker_with_sandbox(sandbox: socket.socket, layout: Layout, mine: Layout, log) -> "subprocess.Popen[bytes]":
    mine.create()
    mine.files_dir.rmdir()
    mine.files_dir.symlink_to(layout.files_dir)
    sandbox.bind(str(mine.sandbox_socket))
    sandbox.listen()
    database = connection.settings_dict
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}?host={database['HOST']}"
    places = {"REDIS_URL": site_settings.REDIS_URL, "DATABASE_URL": url, "RAGSITE_DATA_DIR": str(mine.data_dir)}
    options = ["--app=ragsite", "--quiet", "worker", "--without-gossip", "--queues=ingest-small", "--pool=threads"]
    command = [sys.executable, "-c", IMPATIENT, *options, "--concurrency=2"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "ragsite.settings", **places}
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=output, stderr=output)
