"""The upkeep of the measurements."""

from celery import shared_task

from ragsite.service_level.thinning import thin


@shared_task(time_limit=300, soft_time_limit=240)
def thin_measurements() -> None:
    """Make old ones coarser, remove very old ones."""
    thin()
