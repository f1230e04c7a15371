"""Answers as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client import Metric

from chat.models import Message
from ragsite.metrics.gauges import gauge


def answer_gauges() -> Iterator[Metric]:
    yield gauge(
        "ragsite_answers_running", "Answers that are being written now.", float(Message.objects.running().count())
    )
