"""Celery tasks of documents."""

from celery import shared_task

from documents.importing.running import work_on_imports
from documents.sweeping import sweep_files


@shared_task(name="documents.tasks.sweep_files")
def sweep() -> None:
    """Remove files that a crash left without a row."""
    sweep_files()


@shared_task(name="documents.tasks.run_imports")
def run_imports() -> None:
    """Have this process work on imports; the task itself is short."""
    work_on_imports()
