"""Why is it not done? Of any document: its state in words, what it waits for, and what helps."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from documents.labels import STATES, duration
from documents.models import Document
from documents.queue.failures import wait_code
from documents.queue.outlook import Forecast, forecasts, site_outlook
from ragsite.heartbeat import worker_is_alive

Action = dict[str, str]
NOBODY_WORKS = (
    "It waits for its turn, but no worker has been heard of in the last 30 seconds. "
    "It goes on by itself when one runs; if that takes long, tell an administrator."
)


@dataclass(frozen=True)
class Why:
    """``state`` and ``waits_for`` are codes, ``sentence`` says the same to people."""

    state: str
    sentence: str
    since: datetime | None
    forecast: Forecast
    waits_for: str | None = None
    next_try_at: datetime | None = None
    action: Action | None = None

    @property
    def estimate(self) -> str:
        """In words; empty where there is nothing to be expected."""
        if self.state in ("failed", "processed", "processed_with_warnings"):
            return ""
        return remaining_words(self.forecast.remaining)


def remaining_words(seconds: float | None) -> str:
    """``about 3 min left``, or that it is not known."""
    return "measuring how long it takes" if seconds is None else f"about {duration(max(seconds, 1))} left"


def why(document: Document) -> Why:
    """Why the document is where it is."""
    forecast = forecasts([document])[document.id] if document.status not in Document.IN_WORK else None
    if forecast is None:
        return _unfinished(document)
    return _failed(document, forecast) if document.status == Document.Status.FAILED else _processed(document, forecast)


def _processed(document: Document, forecast: Forecast) -> Why:
    if not document.warnings:
        return Why(
            "processed", "It is processed: it is found by words and by meaning.", document.processed_at, forecast
        )
    sentence = f"It is processed, but something in it could not be read: {' '.join(document.warnings)}"
    return Why("processed_with_warnings", sentence, document.processed_at, forecast)


def _failed(document: Document, forecast: Forecast) -> Why:
    retry = _action("Try again", "api-document-retry", document.id)
    action = retry if document.error_retryable else _action("Upload a file that can be read", "api-documents")
    return Why("failed", document.error_detail, document.updated_at, forecast, action=action)


def _action(label: str, name: str, *arguments: Any) -> Action:
    return {"label": label, "method": "POST", "url": reverse(name, args=arguments)}


def _unfinished(document: Document) -> Why:
    outlook = site_outlook()
    forecast = forecasts([document], outlook).get(document.id, Forecast(None))
    now = timezone.now()
    if document.lease_expires_at and document.lease_expires_at > now:
        return _in_work(document, forecast)
    if document.waiting_for:
        return _backing_off(document, forecast)
    alive = outlook.in_work.count > 0 or worker_is_alive(*settings.DOCUMENT_QUEUES)
    if not alive:
        see = {"label": "See which parts of the site run", "method": "GET", "url": "/readyz"}
        return Why("no_worker", NOBODY_WORKS, document.due_at, forecast, "worker", action=see)
    if document.lease_expires_at:
        sentence = (
            f"The worker that processed it has stopped (for the {_ordinal(document.crashes + 1)} time). "
            "Another goes on with it when its turn comes."
        )
        return Why("worker_lost", sentence, document.lease_expires_at, forecast, "turn")
    return Why("waiting_for_turn", _turn(forecast.ahead), document.due_at, forecast, "turn")


def _in_work(document: Document, forecast: Forecast) -> Why:
    stage = STATES[document.status].lower() if document.status != Document.Status.UPLOADED else "beginning"
    done = f", {document.stage_progress:.0%} of this stage done" if document.stage_progress else ""
    found = " Its words can be found already." if document.searchable else ""
    return Why(
        "in_work", f"It is being worked on: {stage}{done}.{found}", document.stage_started_at, forecast, document.status
    )


def _backing_off(document: Document, forecast: Forecast) -> Why:
    see = {"label": "See which parts of the site run", "method": "GET", "url": "/readyz"}
    return Why(
        "backing_off", document.waiting_for, document.updated_at, forecast, wait_code(document.waiting_for),
        next_try_at=document.due_at, action=see,
    )  # fmt: skip


def _turn(ahead: int) -> str:
    if not ahead:
        return "It waits for its turn, and is next."
    return (
        f"It waits for its turn: about {ahead} document{'s' if ahead > 1 else ''} come{'' if ahead > 1 else 's'} first."
    )


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
