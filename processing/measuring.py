"""What the stages of a document took, for the estimates of those that come after it (`documents.queue`)."""

from dataclasses import dataclass

from django.conf import settings

from documents.models import Document
from documents.queue.rates import Measure, record


@dataclass
class Stint:
    """The time that is spent on one stage without a break, and the passages that were made or embedded in it."""

    passages: int = 0


def note(document: Document, stage: str, stint: Stint, seconds: float) -> None:
    """Record what a stint took. Embeddings that were taken over are none of it: they would make the next seem quick."""
    megabytes = document.size / 1e6
    if stage == Document.Status.EXTRACTING:
        record(Measure.READING, document.content_type, megabytes, seconds)
    elif stage == Document.Status.CHUNKING:
        record(Measure.PASSAGES, document.content_type, megabytes, stint.passages)
        record(Measure.SPLITTING, "", stint.passages, seconds)
    elif stint.passages:
        record(Measure.EMBEDDING, settings.EMBEDDING_MODEL, stint.passages, seconds)
