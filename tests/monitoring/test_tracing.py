"""Traces: one an answer, one a document, and nothing where none is configured."""

import gc
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from uuid import UUID

import pytest
from django.core.cache import cache
from django.db import connection

from ragsite import tracing
from ragsite.fields import new_id
from ragsite.metrics import queries

ROOT = Path(__file__).resolve().parents[2]


def test_without_configuration_nothing_that_sends_traces_is_imported():
    """redis-py imports OpenTelemetry's metrics itself wherever they are installed, as they are for these tests."""
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'ragsite.settings'; import django; django.setup(); "
        "from ragsite import tracing; tracing.start(); import ragsite.urls; "
        "sys.exit(any(name.startswith('opentelemetry.exporter') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_span_that_is_off_changes_nothing():
    assert not tracing.is_on()
    with tracing.span("a"), tracing.document_span(new_id(), "b"), tracing.continued("", "c"):
        tracing.annotate("d", more=1)
    tracing.document_arrived(new_id())
    assert tracing.traceparent() == ""


@pytest.fixture
def spans():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    class Spans(InMemorySpanExporter):
        """Called, it gives the spans that have ended."""

        events = defaultdict(threading.Event)

        def __call__(self):
            return self.get_finished_spans()

        def ended(self, name):
            return self.events[name]

        def export(self, batch):
            result = super().export(batch)
            for span in batch:
                self.events[span.name].set()
            return result

    exporter = Spans()
    exporter.events.clear()
    tracing.start(SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop()
    gc.collect()  # what is left of it would start a thread in each child that later tests fork


def tree(found):
    """{name: name of the parent} of spans, where the parent is among them."""
    names = {span.context.span_id: span.name for span in found}
    return {span.name: names.get(span.parent.span_id) if span.parent else None for span in found}


def test_a_documents_way_is_one_trace_from_upload_to_worker(spans, owner, processed):
    document = processed(owner, "Some words about a river.")
    own = [span for span in spans() if span.context.trace_id == tracing.ids_of(document.id)[0]]
    found = tree(own)
    assert found["document"] is None
    assert found["attempt"] == "document"
    assert {found[stage] for stage in ("extracting", "chunking", "embedding")} == {"attempt"}


@pytest.mark.django_db(transaction=True)  # the answer is written by another thread, which has a connection of its own
def test_an_answer_goes_on_with_its_requests_trace(spans, owner, api, processed):
    processed(owner, "The river is long. It has much water.")
    client = api(owner)
    conversation = client.post("/api/v1/conversations", {}).json()["id"]
    answer = client.post(f"/api/v1/conversations/{conversation}/messages", {"content": "How long is the river?"})
    assert answer.json()["status"] == "complete"
    assert spans.ended("answer").wait(10)  # it ends a moment after its reader has all
    asked = next(span for span in spans() if span.name == "POST message-list")
    trace = [span for span in spans() if span.context.trace_id == asked.context.trace_id]
    found = tree(trace)
    assert found["answer"] == "POST message-list"
    assert found["retrieval search"] == "answer"


def test_commands_to_the_cache_belong_to_their_trace_or_to_none(spans):
    cache.get("nothing")
    with tracing.span("request"):
        cache.get("nothing")
    assert tree(spans()) == {"GET": "request", "request": None}


def test_statements_belong_to_their_trace_or_to_none(spans, db):
    with connection.execute_wrapper(queries.timed), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chat_message")
        with tracing.span("request"):
            cursor.execute("SELECT 1 FROM documents_document")
    assert tree(spans()) == {"database SELECT documents_document": "request", "request": None}


def test_the_ids_of_a_document_are_the_same_everywhere():
    document = UUID("01890000-0000-7000-8000-000000000001")
    assert tracing.ids_of(document) == tracing.ids_of(UUID(str(document)))
    assert tracing.ids_of(document) != tracing.ids_of(new_id())


def test_who_is_not_trusted_cannot_choose_the_trace(spans, client, settings, db):
    given = {"HTTP_TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01"}
    client.get("/healthz", **given)
    settings.RAGSITE_TRUSTED_PROXIES = 1
    client.get("/healthz", **given)
    assert [f"{span.context.trace_id:032x}" == "a" * 32 for span in spans()] == [False, True]


def test_exceptions_are_noted(spans):
    with pytest.raises(ValueError), tracing.span("part"):
        raise ValueError("no")
    assert spans()[0].events[0].name == "exception"
