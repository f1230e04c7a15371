"""A worker is killed at every step of a document's way: what it leaves is whole, and the next one ends it well."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pkgutil import resolve_name
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from documents import services
from documents.models import Document
from processing import outcomes, pipeline
from tests.torture.audit import rows_at_rest, rows_whole

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "\n\n".join(f"# Heading {n}\n\n" + f"fact{n} is a fact of its own. " * 60 for n in range(30))
STEPS = {
    "before it reads": ("processing.pipeline.SandboxClient.extract", 1, False),
    "when it has read": ("processing.pipeline.SandboxClient.extract", 1, True),
    "while it chunks": ("processing.pipeline.chunk", 1, False),
    "with chunks written and not committed": ("processing.writing.copy_rows", 1, True),
    "with chunks committed": ("processing.pipeline.write_chunks", 1, True),
    "while it embeds": ("processing.pipeline.write_embeddings", 1, True),
    "with vectors written and not committed": ("processing.writing.copy_binary", 1, True),
    "when all is embedded and nothing said": ("processing.pipeline._embed", 1, True),
    "when it is done": ("processing.pipeline.document_processed.send", 1, False),
}


def killing(real: Callable[..., Any], call: int, afterwards: bool) -> Callable[..., Any]:
    """The same function; this process dies at its ``call``-th use, before or after."""
    calls = []

    def run(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        result = real(*args, **kwargs) if afterwards or len(calls) < call else None
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return run


def in_child(work: Callable[[], Any]) -> int:
    """How a fork of this process ended that did the work."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def process_all() -> None:
    Document.objects.in_work().update(due_at=timezone.now() - timedelta(seconds=1))
    while pipeline.process_next():
        pass


@pytest.mark.parametrize("again", [False, True], ids=["first", "reprocessed"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_anywhere_leaves_what_is_whole_and_the_next_one_ends_it(
    owner, upload, fake_encoder, sandbox_service, settings, monkeypatch, step, again
):
    document = upload(owner, TEXT, "long.md")
    if again:
        process_all()
        services.reprocess_documents([document])
        settings.EMBEDDING_MODEL = "another"  # else nothing is embedded twice
    place, call, afterwards = STEPS[step]
    with monkeypatch.context() as patch:
        real = resolve_name(place)
        patch.setattr(place, killing(real, call, afterwards))
        assert in_child(pipeline.process_next) == -signal.SIGKILL
    assert list(rows_whole()) == []
    Document.objects.filter(lease_expires_at__isnull=False).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    process_all()
    document.refresh_from_db()
    assert document.status == "processed"
    assert [*rows_whole(), *rows_at_rest()] == []


def test_a_database_that_is_away_for_long_makes_no_document_a_suspect(
    owner, upload, fake_encoder, sandbox_service, monkeypatch
):
    document = upload(owner, TEXT, "long.md")
    monkeypatch.setattr(outcomes, "GIVE_BACK_PAUSES", (0, 0, 0))
    real, tries = outcomes.Lease.release, []

    def away_twice(self, **kwargs):
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("the database system is starting up")
        real(self, **kwargs)

    def cut(*args):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(outcomes.Lease, "release", away_twice)
        patch.setattr(fake_encoder, "embed_passages", cut)
        pipeline.process_next()
    document.refresh_from_db()
    assert (document.lease_expires_at, document.crashes, len(tries)) == (None, 0, 3)
    process_all()
    document.refresh_from_db()
    assert (document.status, document.crashes) == ("processed", 0)
