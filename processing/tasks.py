"""The Celery tasks of processing. The rows are the queue; a task only wakes a worker."""

import logging
import os
from threading import Thread
from time import monotonic
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import InterfaceError, OperationalError, close_old_connections

from documents.queue import shards
from documents.queue.waking import wake_for_all
from processing import pipeline, renewal
from processing.admission import admission
from processing.taking import queues_served, wake_own
from ragsite import languages
from ragsite.limits import at_hard_limit
from ragsite.metrics import process
from ragsite.sharding.state import is_sharded

logger = logging.getLogger(__name__)

SECONDS_AT_WORK = 5.0
"""After so long a task ends, at the end of a document: a message for each small one would cost as much as its text's
splitting."""


@shared_task(name="processing.tasks.process_next")
def process_next() -> None:
    """Process due documents one after the other, for some seconds, and wake a worker for the next."""
    try:
        ends = monotonic() + SECONDS_AT_WORK
        while pipeline.process_next() is not None:
            if monotonic() > ends:
                wake_own()
                return
    except (OperationalError, InterfaceError) as error:
        _database_away(error)


@shared_task(name="processing.tasks.wake_workers")
def wake_workers() -> None:
    """The net below: what a lost message or a dead worker left lying is found here."""
    if is_sharded():
        shards.clear_line()
    wake_for_all()


@shared_task(name="processing.tasks.renew_vectors")
def renew_vectors() -> None:
    """After a change of the model, or of what is embedded: the next documents, when nothing else is to be done."""
    try:
        renewal.renew_vectors()
    except (OperationalError, InterfaceError) as error:
        _database_away(error)


def _database_away(error: Exception) -> None:
    """Nothing is lost: leases expire, and the next round finds the rows."""
    logger.warning("The database is away: %s", str(error).strip().splitlines()[0])
    close_old_connections()


@worker_ready.connect
def load_early(sender: Any, **_: Any) -> None:
    """What the first document would wait for, in a thread of its own: the worker takes messages meanwhile."""
    if queues_served():
        Thread(target=languages.prepared, name="loading", daemon=True).start()


at_hard_limit(admission.close)


@worker_shutting_down.connect
def stop_at_once(**_: Any) -> None:
    """A stop does not wait for the threads at work; in one of its own, because this is called by a signal's handler."""
    if admission.was_asked:
        Thread(target=_give_back_and_end, name="stopping").start()


def _give_back_and_end() -> None:
    try:
        admission.close()
        process.end()
    finally:
        os._exit(0)
