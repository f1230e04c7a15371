"""What happened, told once: Prometheus counts it, and the service level measures it. A call costs some microseconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ragsite import tracing
from ragsite.metrics import definitions as metrics
from ragsite.service_level.recorder import recorder
from ragsite.service_level.targets import Indicator

SLOW_QUERY_SECONDS = 0.1
SLOW_REQUEST_SECONDS = 0.5
NOT_FOR_PEOPLE = frozenset({"healthz", "readyz", "static"})


def request(view: str, method: str, status: int, seconds: float) -> None:
    """A response began. What machines ask to look after the site is no part of its level."""
    metrics.REQUESTS.labels(view, method, str(status)).inc()
    metrics.REQUEST_SECONDS.labels(view).observe(seconds)
    if view in NOT_FOR_PEOPLE:
        return
    if status >= 500:
        recorder.failed(Indicator.REQUEST)
        return
    recorder.measured(Indicator.REQUEST, seconds)
    if seconds >= SLOW_REQUEST_SECONDS:
        recorder.measured(Indicator.VIEW, seconds, view)


def first_event(seconds: float) -> None:
    """Of an answer's stream, since the question came."""
    metrics.FIRST_EVENT_SECONDS.observe(seconds)
    recorder.measured(Indicator.FIRST_EVENT, seconds)


def first_token(seconds: float, of_model: float) -> None:
    """Of an answer; ``of_model`` are the seconds in which its model was waited for."""
    added = max(0.0, seconds - of_model)
    metrics.FIRST_TOKEN_SECONDS.observe(seconds)
    metrics.ADDED_SECONDS.observe(added)
    recorder.measured(Indicator.FIRST_TOKEN, seconds)
    recorder.measured(Indicator.ADDED, added)


def answer_complete(seconds: float) -> None:
    metrics.ANSWERS.labels("complete").inc()
    metrics.ANSWER_SECONDS.observe(seconds)
    recorder.measured(Indicator.ANSWER, seconds)


def answer_ended(outcome: str, code: str = "") -> None:
    """An answer that is not whole: ``failed`` is the site's fault, ``stopped`` its reader's wish."""
    metrics.ANSWERS.labels(outcome).inc()
    if outcome == "failed":
        metrics.ANSWER_FAILURES.labels(code).inc()
        recorder.failed(Indicator.ANSWER)


@contextmanager
def retrieval(part: str) -> Iterator[None]:
    """Times a part of the way from a question to its passages."""
    started = time.perf_counter()
    with tracing.span(f"retrieval {part}"):
        yield
    seconds = time.perf_counter() - started
    metrics.RETRIEVAL_SECONDS.labels(part).observe(seconds)
    recorder.measured(Indicator.RETRIEVAL, seconds, part)


def document_processed(seconds: float) -> None:
    metrics.DOCUMENTS.labels("processed").inc()
    metrics.DOCUMENT_SECONDS.observe(seconds)
    recorder.measured(Indicator.DOCUMENT, seconds)


def document_failed(by_the_site: bool) -> None:
    """A file that nobody could read is no error of the site."""
    metrics.DOCUMENTS.labels("failed" if by_the_site else "refused").inc()
    if by_the_site:
        recorder.failed(Indicator.DOCUMENT)


def stage(name: str, seconds: float) -> None:
    metrics.STAGE_SECONDS.labels(name).observe(seconds)
    recorder.measured(Indicator.STAGE, seconds, name)


def query(seconds: float) -> None:
    metrics.QUERY_SECONDS.observe(seconds)


def slow_query(statement: str, seconds: float) -> None:
    metrics.SLOW_QUERIES.labels(statement).inc()
    recorder.measured(Indicator.QUERY, seconds, statement)


def model_first_token(model: str, seconds: float) -> None:
    metrics.MODEL_FIRST_TOKEN_SECONDS.labels(model).observe(seconds)
    recorder.measured(Indicator.MODEL, seconds, model)


def model_call(model: str, outcome: str, seconds: float) -> None:
    """``outcome``: ok, stopped, or the error's code."""
    metrics.MODEL_CALLS.labels(model, outcome).inc()
    metrics.MODEL_SECONDS.labels(model).observe(seconds)
    if outcome not in ("ok", "stopped"):
        recorder.failed(Indicator.MODEL, model)


def model_tokens(model: str, prompt: int, completion: int) -> None:
    metrics.MODEL_TOKENS.labels(model, "prompt").inc(prompt)
    metrics.MODEL_TOKENS.labels(model, "completion").inc(completion)


def user_seen(user_id: int) -> None:
    recorder.seen(user_id)
