"""What the stages of a document took, for the estimates of those that come after it (`documents.queue`)."""

from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from documents.models import Document
from documents.queue.rates import Measure, record
from ragsite.metrics import record as metrics


@dataclass
class Stint:
    """The time that is spent on one stage without a break, and the passages that were made or embedded in it."""

    passages: int = 0


def note(document: Document, stage: str, stint: Stint, seconds: float) -> None:
    """Record what a stint took. Embeddings that were taken over are none of it: they would make the next seem quick."""
    metrics.stage(str(stage), seconds)
    megabytes = document.size / 1e6
    if stage == Document.Status.EXTRACTING:
        record(Measure.READING, document.content_type, megabytes, seconds)
    elif stage == Document.Status.CHUNKING:
        record(Measure.PASSAGES, document.content_type, megabytes, stint.passages)
        record(Measure.SPLITTING, "", stint.passages, seconds)
    elif stint.passages:
        record(Measure.EMBEDDING, settings.EMBEDDING_MODEL, stint.passages, seconds)


def note_beginning(document: Document) -> None:
    """How long it waited for its first turn."""
    if document.attempts == 1 and document.status == Document.Status.UPLOADED:
        metrics.stage("waiting", _age(document))


def note_processed(document: Document) -> None:
    """How long it took from the upload, or from its restart, all waiting included."""
    metrics.document_processed(_age(document))


def _age(document: Document) -> float:
    return max(0.0, (timezone.now() - (document.restarted_at or document.uploaded_at)).total_seconds())
