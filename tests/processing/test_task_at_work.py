"""A worker's task goes on with the next document; a document's transactions begin with the proof of the attempt."""

import pytest

from documents.models import Chunk, Document, DocumentText
from documents.services import reprocess_documents
from processing import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(tasks, "wake_own", lambda: found.append("woken"))
    return found


@pytest.fixture
def three(owner, upload, fake_encoder, sandbox_service) -> None:
    for number in range(3):
        upload(owner, f"Words of document {number}.", f"{number}.txt")


def done() -> int:
    return Document.objects.filter(status=Document.Status.PROCESSED).count()


def test_one_message_is_enough_for_all_that_is_due(three, woken):
    tasks.process_next()
    assert (done(), woken) == (3, [])


def test_a_task_that_has_worked_long_enough_leaves_the_rest_to_the_next(three, woken, monkeypatch):
    monkeypatch.setattr(tasks, "SECONDS_AT_WORK", -1)
    tasks.process_next()
    assert (done(), woken) == (1, ["woken"])


def test_what_was_made_of_a_document_before_is_replaced(owner, processed):
    document = processed(owner, "Words that stay the same.", "a.txt")
    assert reprocess_documents([document]) == 1
    tasks.process_next()
    document.refresh_from_db()
    assert document.status == Document.Status.PROCESSED
    assert DocumentText.objects.count() == 1
    assert Chunk.objects.count() == document.chunk_count == 1
    assert set(document.stage_seconds) == {"extracting", "chunking", "embedding"}
