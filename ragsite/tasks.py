"""What has to be done now and then, whichever app it concerns."""

import logging

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from ragsite.accounts.models import IdempotencyKey
from ragsite.partitioning import timed

logger = logging.getLogger(__name__)


@shared_task(time_limit=600, soft_time_limit=540)
def remove_expired() -> None:
    """Remove idempotency keys past their time and expired sessions."""
    removed, _ = IdempotencyKey.objects.older_than(settings.IDEMPOTENCY_KEEP).delete()
    call_command("clearsessions")
    if settings.RAGSITE_SILK:
        from ragsite.profiling.recording import forget_old

        forget_old()
    logger.info("removed %s idempotency keys", removed)


@shared_task(time_limit=600, soft_time_limit=540)
def keep_partitions() -> None:
    """Make the partitions of the coming weeks, drop those of which all is old."""
    for sentence in timed.upkeep():
        logger.info("%s", sentence)
