"""The way of a document: extract → chunk → embed, each stage with its progress and its time on the row."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from documents.models import Document
from documents.queue.kinds import next_due
from documents.queue.waking import wake_worker
from documents.replacing import take_over
from documents.signals import document_processed
from documents.vectors import model_names, register_model
from processing.admission import admission
from processing.chunking import chunk
from processing.encoding import encoded_ahead
from processing.leases import Lease, LeaseLost, logger
from processing.measuring import Notes, Stint, note_beginning, note_processed
from processing.outcomes import PASSING, GivenOver, ProcessingFailed, SliceEnded, fail, fail_unexpectedly, wait_or_fail
from processing.taking import others_embed, queues_taken
from processing.writing import (
    EmbeddingInput,
    batches,
    drop_other_vectors,
    missing_embeddings,
    write_chunks,
    write_embeddings,
)
from ragsite import limits, origin, tracing
from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable, estimated_tokens
from ragsite.extraction import Extraction, ExtractionRefused
from ragsite.languages import detect
from ragsite.routes import EMBED
from ragsite.sandbox import Progress, SandboxClient

Status = Document.Status

EMBED_BATCH = 64
"""About half a second's work at the encoder, since most texts are sentences; each batch is a transaction."""
PROGRESS_SECONDS = 0.5
"""How often a stage's progress is written: often enough for a person to watch, seldom enough to cost nothing."""
SLICE_SECONDS = 60.0
"""After so long at embedding one document a worker looks who else waits."""


def process_next() -> Document | None:
    """Claim the next due document and process it as far as it goes. None when nothing was due, or has a place here."""
    document = admission.claim()
    if document is not None:
        process(document)
    return document


def process(document: Document) -> None:
    """Process a claimed document. Whatever happens is on its row afterwards: processed, failed, or waiting to go on."""
    attempt = document.attempt
    origin.begin(f"document-{document.id}")
    try:
        with tracing.document_span(document.id, "attempt", number=document.attempts), Lease(document) as lease:
            note_beginning(document)
            admission.wait_until_alone(document)
            _attempt(lease)
    except LeaseLost:
        logger.info("Document %s was deleted, restarted or taken over; this attempt ends.", document.id)
    finally:
        admission.leave(attempt)


def _attempt(lease: Lease) -> None:
    try:
        _refuse_crasher(lease.document)
        _run_stages(lease)
    except (ExtractionRefused, ProcessingFailed, EncoderRejected) as error:
        fail(lease, error)
    except PASSING as error:
        wait_or_fail(lease, error)
    except GivenOver:
        lease.release(wait=0, reason="")
        wake_worker(EMBED)
    except (SliceEnded, SoftTimeLimitExceeded):
        lease.release(wait=0, reason="")
    except LeaseLost:
        raise
    except Exception:
        fail_unexpectedly(lease)


def _refuse_crasher(document: Document) -> None:
    if document.crashes >= settings.PROCESSING_MAX_CRASHES:
        detail = f"The worker was stopped {document.crashes} times while it processed this document."
        raise ProcessingFailed("crashed", detail, retryable=True)


def _run_stages(lease: Lease) -> None:
    document = lease.document
    with Notes(document) as notes:
        missing = None
        if document.status != Status.EMBEDDING:
            extraction = _extract(lease, notes)
            missing = _chunk(lease, notes, extraction)
        _embed(lease, notes, missing)
    with transaction.atomic():
        take_over(owner_id=document.owner_id, document=document.id)
        lease.update(
            status=Status.PROCESSED,
            stage_progress=1,
            stage_seconds=document.stage_seconds,
            processed_at=Now(),
            lease_expires_at=None,
            attempt=None,
            attempts=0,
            crashes=0,
            waiting_for="",
        )
    note_processed(document)
    document_processed.send(Document, owner_id=document.owner_id, document_id=document.id)


@contextmanager
def _stage(lease: Lease, notes: Notes, status: str, **values: Any) -> Iterator[Stint]:
    """Enter a stage, or go on in it, and note the time that it took, also when its slice ends.

    What the stage before it has found, and its time, are written with its beginning.
    """
    stint, started, document = Stint(), time.monotonic(), lease.document
    if document.status != status:
        lease.update(**_beginning(document, status), **values)
    try:
        with tracing.span(str(status)):
            yield stint
    except SliceEnded:
        _note_time(lease, notes, status, stint, time.monotonic() - started)
        lease.update(stage_seconds=document.stage_seconds, waiting_for="")
        raise
    _note_time(lease, notes, status, stint, time.monotonic() - started)


def _beginning(document: Document, status: str) -> dict[str, Any]:
    """A document's row at the beginning of a stage."""
    seconds = document.stage_seconds
    return {
        "status": status, "stage_progress": 0, "stage_started_at": Now(), "stage_seconds": seconds, "waiting_for": "",
    }  # fmt: skip


def _note_time(lease: Lease, notes: Notes, status: str, stint: Stint, seconds: float) -> None:
    document = lease.document
    earlier = document.stage_seconds
    document.stage_seconds = {**earlier, str(status): round(earlier.get(str(status), 0) + seconds, 3)}
    notes.add(status, stint, seconds)


def _progress_writer(lease: Lease) -> Callable[[float], None]:
    written = time.monotonic()

    def write(progress: float) -> None:
        nonlocal written
        lease.check()
        limits.check()
        if time.monotonic() - written >= PROGRESS_SECONDS:
            lease.update(stage_progress=min(max(progress, 0), 1))
            written = time.monotonic()

    return write


def _extract(lease: Lease, notes: Notes) -> Extraction:
    document = lease.document
    write = _progress_writer(lease)

    def on_progress(progress: Progress) -> None:
        write(progress.progress)

    with _stage(lease, notes, Status.EXTRACTING):
        client = SandboxClient(settings.LAYOUT.sandbox_socket)
        with document.file.open() as file:
            extraction = client.extract(file, document.content_type, on_progress=on_progress)
        if not extraction.text.strip():
            raise ExtractionRefused("no_text", "No text was found in this file.")
    return extraction


def _found(document: Document, extraction: Extraction) -> dict[str, Any]:
    """What a document's row tells of its text."""
    return {
        "title": title_of(document.filename, extraction.title),
        "language": detect(extraction.text),
        "page_count": extraction.page_count,
        "page_kind": extraction.page_kind,
        "warnings": [warning.replace("\x00", "") for warning in extraction.warnings],
    }


def title_of(filename: str, title: str | None) -> str:
    """What a document is called: the file's name as people say it, and its own title where that says more.

    Reports of one kind have one title ("Form 10-Q"); the name tells them apart, which finds the right one of them.
    """
    name = PurePosixPath(filename).stem.replace("_", " ").strip()
    title = title and title.replace("\x00", "")
    if title and _letters(name) in _letters(title):
        return title[:300]
    if not title or _letters(title) in _letters(name):
        return name[:300]
    return f"{name}: {title}"[:300]


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _chunk(lease: Lease, notes: Notes, extraction: Extraction) -> list[EmbeddingInput]:
    """Returns what has still to be embedded: with the chunks the next stage has begun."""
    with _stage(lease, notes, Status.CHUNKING, **_found(lease.document, extraction)) as stint:
        passages = chunk(extraction, lease.document.language, _count_tokens)
        stint.passages = len(passages)
        return write_chunks(lease, extraction, passages, **_beginning(lease.document, Status.EMBEDDING))


def _count_tokens(texts: Sequence[str]) -> list[int]:
    """By the encoder; estimated while it is away, so that words can be found meanwhile."""
    try:
        return encoder().count_tokens(texts)
    except EncoderUnavailable:
        return [estimated_tokens(text) for text in texts]


def _embed(lease: Lease, notes: Notes, missing: list[EmbeddingInput] | None) -> None:
    with _stage(lease, notes, Status.EMBEDDING) as stint:
        model = register_model(model_names()[0], encoder().dimensions)
        ends = time.monotonic() + SLICE_SECONDS
        inputs = missing_embeddings(lease.document, model) if missing is None else missing
        if inputs and others_embed():
            raise GivenOver
        chunks = lease.document.chunk_count
        left = len({entry.position for entry in inputs})
        for batch, vectors in encoded_ahead(batches(inputs, EMBED_BATCH)):
            stint.passages += len({entry.position for entry in batch})
            left -= len({entry.position for entry in batch})
            write_embeddings(lease, model, batch, vectors, progress=(chunks - left) / chunks)
            limits.check()
            if left and time.monotonic() > ends and next_due(queues_taken()):
                raise SliceEnded
        drop_other_vectors(lease, model)
