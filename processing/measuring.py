"""What the stages of a document took, for the estimates of those that come after it (`documents.queue`)."""

from dataclasses import dataclass
from types import TracebackType

from django.conf import settings
from django.utils import timezone

from documents.models import Document
from documents.queue.rates import Measure, Measurement, record
from ragsite.metrics import record as metrics


@dataclass
class Stint:
    """The time that is spent on one stage without a break, and the passages that were made or embedded in it."""

    passages: int = 0


class Notes:
    """What the stints of one attempt took; written at once when the block ends, whatever ended it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._measurements: list[Measurement] = []

    def __enter__(self) -> "Notes":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._measurements:
            record(self._measurements)

    def add(self, stage: str, stint: Stint, seconds: float) -> None:
        """A stint is over. Embeddings that were taken over are none of it: they would make the next seem quick."""
        self._measurements += _measurements(self._document, stage, stint, seconds)


def _measurements(document: Document, stage: str, stint: Stint, seconds: float) -> list[Measurement]:
    metrics.stage(str(stage), seconds)
    megabytes = document.size / 1e6
    if stage == Document.Status.EXTRACTING:
        return [Measurement(Measure.READING, document.content_type, megabytes, seconds)]
    if stage == Document.Status.CHUNKING:
        return [
            Measurement(Measure.PASSAGES, document.content_type, megabytes, stint.passages),
            Measurement(Measure.SPLITTING, "", stint.passages, seconds),
        ]
    if stint.passages:
        return [Measurement(Measure.EMBEDDING, settings.EMBEDDING_MODEL, stint.passages, seconds)]
    return []


def note_beginning(document: Document) -> None:
    """How long it waited for its first turn."""
    if document.attempts == 1 and document.status == Document.Status.UPLOADED:
        metrics.stage("waiting", _age(document))


def note_processed(document: Document) -> None:
    """How long it took from the upload, or from its restart, all waiting included."""
    metrics.document_processed(_age(document))


def _age(document: Document) -> float:
    return max(0.0, (timezone.now() - (document.restarted_at or document.uploaded_at)).total_seconds())
