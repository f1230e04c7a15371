"""The Celery tasks of processing. The rows are the queue; a task only wakes a worker."""

from celery import shared_task
from django.conf import settings

from documents.models import Document
from documents.services import wake_worker
from processing import pipeline


@shared_task(name="processing.tasks.process_next")
def process_next() -> None:
    """Process one due document, and wake a worker for the next."""
    if pipeline.process_next() is not None and Document.objects.claimable().exists():
        wake_worker()


@shared_task(name="processing.tasks.wake_workers")
def wake_workers() -> None:
    """The net below: what a lost message or a dead worker left lying is found here."""
    waiting = Document.objects.claimable()[: settings.PROCESSING_WAKE_LIMIT].count()
    for _ in range(waiting):
        wake_worker()
