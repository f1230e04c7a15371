"""Messages that tell a worker to look at the queue: they only wake, the rows are the truth.

When the broker is down, the next round of the upkeep finds what waits.
"""

import logging

from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseProblem

from documents.models import Document
from documents.queue.kinds import queue_for, waiting
from ragsite.heartbeat import was_alive_lately
from ragsite.queues import messages_in
from ragsite.routes import PROCESS_NEXT, serving

logger = logging.getLogger(__name__)


def wake_worker(queue: str) -> None:
    """Tell a worker that takes documents of this queue that there is work, unless enough of such messages wait already.

    Where no worker has this queue, it is one of those that take its documents too.
    """
    queue = next(filter(was_alive_lately, serving(queue)), queue)
    try:
        if messages_in(queue) < settings.PROCESSING_WAKE_LIMIT:
            current_app.send_task(PROCESS_NEXT, queue=queue, retry=False, expires=600)
    except Exception as error:  # whatever the broker's driver raises: the upload is safe already
        logger.warning("The broker cannot be reached (%s); the document waits for the next round.", error)


def wake_for(document: Document) -> None:
    """The same for a document that has just come, and is safe."""
    try:
        wake_worker(queue_for(document))
    except DatabaseProblem as error:
        logger.warning("The database went away (%s); the document waits for the next round.", type(error).__name__)


def wake_for_all() -> None:
    """As many workers of each queue as may be of use, when documents are safe already."""
    try:
        found = waiting(settings.PROCESSING_WAKE_LIMIT)
    except DatabaseProblem as error:
        logger.warning("The database went away (%s); documents wait for the next round.", type(error).__name__)
        return
    for queue, (count, _) in found.items():
        for _ in range(count):
            wake_worker(queue)
