"""Celery tasks of documents."""

import logging

from celery import shared_task
from django.db import InterfaceError, OperationalError, close_old_connections

from documents.importing.running import work_on_imports
from documents.sweeping import sweep_files

logger = logging.getLogger(__name__)


@shared_task(name="documents.tasks.sweep_files")
def sweep() -> None:
    """Remove files that a crash left without a row."""
    sweep_files()


@shared_task(name="documents.tasks.run_imports")
def run_imports() -> None:
    """Have this process work on imports; the task itself is short."""
    try:
        work_on_imports()
    except (OperationalError, InterfaceError) as error:
        logger.warning("imports wait, the database is away: %s", str(error).strip().splitlines()[0])
        close_old_connections()
