"""What has to be done about answers without anybody asking."""

from celery import shared_task

from chat.answers.sweeping import sweep


@shared_task(time_limit=60, soft_time_limit=50)
def sweep_interrupted() -> int:
    """Mark the answers of processes that died."""
    return sweep()
