"""Traces by OpenTelemetry, where `OTEL_EXPORTER_OTLP_ENDPOINT` says where they go.

Without it nothing of OpenTelemetry is imported, and a span costs a function call. A document has a trace of its own,
whose id follows from the document's: upload and workers, hours and machines apart, write to the same one.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "ragsite"
_OFF: AbstractContextManager[Any] = nullcontext()
_provider: Any = None
_tracer: Any = None
_wanted_ids: ContextVar[tuple[int, int] | None] = ContextVar("wanted_ids", default=None)


def start(processor: "SpanProcessor | None" = None) -> None:
    """Begin to trace in this process, if it is configured (or a processor of spans is given)."""
    global _tracer, _provider
    if processor is None and not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        _provider = _made(processor)
    except ImportError:
        logger.warning("no traces: OpenTelemetry is missing (pip install -r requirements-otel.txt)")
        return
    _tracer = _provider.get_tracer(SERVICE)


def stop() -> None:
    """Trace no more. A provider that is not shut down lives on, and starts a thread in every child that is forked."""
    global _tracer, _provider
    if _provider is not None:
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().uninstrument()
        _provider.shutdown()
    _tracer = _provider = None


def is_on() -> bool:
    return _tracer is not None


def _made(processor: "SpanProcessor | None") -> Any:
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE})
    provider = TracerProvider(sampler=_sampler(), resource=resource, id_generator=_id_generator())
    provider.add_span_processor(processor or _exporting())
    RedisInstrumentor().instrument(tracer_provider=provider)
    return provider


def _id_generator() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ones, unless the span is a document's first."""

        def generate_trace_id(self) -> int:
            wanted = _wanted_ids.get()
            return wanted[0] if wanted else super().generate_trace_id()

        def generate_span_id(self) -> int:
            wanted = _wanted_ids.get()
            return wanted[1] if wanted else super().generate_span_id()

    return Ids()


def _sampler() -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace.sampling import Decision, SamplingResult, TraceIdRatioBased

    class Sampler(TraceIdRatioBased):
        """By the trace's id alone: so all processes decide alike, without telling each other.

        What belongs to nothing is left out: the board of answers speaks to Valkey sixteen times a second.
        """

        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *rest: Any, **more: Any
        ) -> Any:
            if kind is trace.SpanKind.CLIENT and not trace.get_current_span(parent_context).get_span_context().is_valid:
                return SamplingResult(Decision.DROP)
            return super().should_sample(parent_context, trace_id, name, kind, *rest, **more)

    return Sampler(float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 1))


def _exporting() -> "SpanProcessor":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A part of what is going on here; exceptions that leave it are noted."""
    return _OFF if _tracer is None else _tracer.start_as_current_span(name, attributes=attributes)


def call(name: str) -> AbstractContextManager[Any]:
    """A call of a server, if it is a part of something: those of the clock's idle rounds are left out."""
    if _tracer is None:
        return _OFF
    from opentelemetry.trace import SpanKind

    return _tracer.start_as_current_span(name, kind=SpanKind.CLIENT)


def annotate(name: str | None = None, **attributes: Any) -> None:
    """Say more of the present span, or give it another name."""
    if _tracer is not None:
        from opentelemetry import trace

        present = trace.get_current_span()
        present.set_attributes(attributes)
        if name:
            present.update_name(name)


def traceparent() -> str:
    """The present span as W3C's header, to go on with elsewhere; empty where nothing is traced."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01" if context.is_valid else ""


def continued(parent: str, name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A span below another thread's or process's; below none where ``parent`` is empty."""
    if _tracer is None:
        return _OFF
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract({"traceparent": parent} if parent else {}, context=_empty())
    return _tracer.start_as_current_span(name, context=above, attributes=attributes)


def document_span(document: UUID, name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A part of a document's way."""
    if _tracer is None:
        return _OFF
    trace_id, span_id = ids_of(document)
    parent = f"00-{trace_id:032x}-{span_id:016x}-01"
    return continued(parent, name, **{"document.id": str(document), **attributes})


def document_arrived(document: UUID, **attributes: Any) -> None:
    """The beginning of a document's way, linked with the request that brought it."""
    if _tracer is not None:
        with _with_ids(ids_of(document)):
            _begin_document({"document.id": str(document), **attributes})


def _begin_document(attributes: dict[str, Any]) -> None:
    from opentelemetry import trace

    link = trace.Link(trace.get_current_span().get_span_context())
    _tracer.start_span("document", context=_empty(), links=[link], attributes=attributes).end()


def _empty() -> Any:
    from opentelemetry.context import Context

    return Context()


@contextmanager
def _with_ids(ids: tuple[int, int]) -> Iterator[None]:
    token = _wanted_ids.set(ids)
    try:
        yield
    finally:
        _wanted_ids.reset(token)


def ids_of(document: UUID) -> tuple[int, int]:
    """The ids of a document's trace and its first span. Hashed: of an id by time the sampler would see no chance."""
    digest = hashlib.blake2b(document.bytes, digest_size=24).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1
