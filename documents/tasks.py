"""Celery tasks of documents."""

from celery import shared_task

from documents.sweeping import sweep_files


@shared_task(name="documents.tasks.sweep_files")
def sweep() -> None:
    """Remove files that a crash left without a row."""
    sweep_files()
