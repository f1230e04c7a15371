"""The queue of documents as Prometheus reads it."""

import time
from collections.abc import Iterator

from prometheus_client import Metric

from documents.queue.kinds import waiting
from documents.queue.state import queue_of_site
from ragsite.metrics.gauges import gauge

MOST_COUNTED = 10_000


def queue_gauges() -> Iterator[Metric]:
    queue = queue_of_site()
    counts: dict[str, float] = {"waiting": queue.waiting, "in_work": queue.in_work, "failed": queue.failed}
    yield gauge("ragsite_queue_documents", "Documents that are not done, by state.", counts, "state")
    yield gauge(
        "ragsite_queue_oldest_seconds", "Since when the longest waiting document is due.", queue.oldest_seconds or 0.0
    )
    lines = waiting(MOST_COUNTED)
    counted = {name: float(count) for name, (count, _) in lines.items()}
    yield gauge("ragsite_queue_waiting_documents", "Documents that are due, by queue.", counted, "queue")
    ages = {name: max(0.0, time.time() - since) if since else 0.0 for name, (_, since) in lines.items()}
    yield gauge("ragsite_queue_waiting_seconds", "Since when the longest waiting one is due, by queue.", ages, "queue")
    if queue.remaining_seconds is not None:
        yield gauge("ragsite_queue_remaining_seconds", "Until all are done, by estimate.", queue.remaining_seconds)
