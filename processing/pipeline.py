"""The way of a document: extract → chunk → embed, each stage with its progress and its time on the row."""

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from documents.models import Document, EmbeddingModel
from documents.signals import document_processed
from documents.vectors import register_model
from processing.chunking import chunk
from processing.leases import Lease, LeaseLost, claim_next
from processing.writing import missing_embeddings, write_chunks, write_embeddings
from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable
from ragsite.extraction import Extraction, ExtractionRefused
from ragsite.languages import detect
from ragsite.sandbox import Progress, SandboxClient, SandboxUnavailable

logger = logging.getLogger(__name__)
Status = Document.Status

EMBED_BATCH = 16
PROGRESS_SECONDS = 0.5
"""How often a stage's progress is written: often enough for a person to watch, seldom enough to cost nothing."""
BACKOFF_SECONDS = (1, 2, 5, 10, 20, 30)

WAITING = {
    EncoderUnavailable: "The embedding model cannot be reached. This document goes on by itself when it is back.",
    SandboxUnavailable: "The reading service is restarting. This document goes on by itself when it is back.",
    OSError: "The disk is full or cannot be reached. This document goes on by itself when it can.",
}
RETRYABLE_REFUSALS = {"timeout", "embedding_rejected"}
"""What may go well on another day: on a quiet machine, or with another model. All else depends on the file alone."""
TRANSIENT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class ProcessingFailed(Exception):
    """A document that cannot be processed: ``code`` for programs, ``detail`` for people."""

    def __init__(self, code: str, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable


def process_next() -> Document | None:
    """Claim the next due document and process it as far as it goes. None when nothing was due."""
    document = claim_next()
    if document is not None:
        process(document)
    return document


def process(document: Document) -> None:
    """Process a claimed document. Whatever happens is on its row afterwards: processed, failed, or waiting to go on."""
    try:
        with Lease(document) as lease:
            _attempt(lease)
    except LeaseLost:
        logger.info("Document %s was deleted, restarted or taken over; this attempt ends.", document.id)


def _attempt(lease: Lease) -> None:
    try:
        _refuse_crasher(lease.document)
        _run_stages(lease)
    except (ExtractionRefused, ProcessingFailed, EncoderRejected) as error:
        _fail(lease, error)
    except (SandboxUnavailable, EncoderUnavailable, OperationalError, InterfaceError, OSError) as error:
        _wait_or_fail(lease, error)
    except LeaseLost:
        raise
    except Exception:
        logger.exception("Document %s failed by a fault of the site", lease.document.id)
        detail = (
            "Processing ended with an unexpected error; it is in the site's log. Try again, or tell an administrator."
        )
        _fail(lease, ProcessingFailed("internal_error", detail, retryable=True))


def _refuse_crasher(document: Document) -> None:
    if document.crashes >= settings.PROCESSING_MAX_CRASHES:
        detail = f"The worker was stopped {document.crashes} times while it processed this document."
        raise ProcessingFailed("crashed", detail, retryable=True)


def _run_stages(lease: Lease) -> None:
    document = lease.document
    model = register_model(settings.EMBEDDING_MODEL, encoder().dimensions)
    if document.status != Status.EMBEDDING:
        extraction = _extract(lease)
        _chunk(lease, extraction, model)
    _embed(lease, model)
    lease.update(
        status=Status.PROCESSED,
        stage_progress=1,
        processed_at=timezone.now(),
        lease_expires_at=None,
        attempt=None,
        attempts=0,
        crashes=0,
        waiting_for="",
    )
    document_processed.send(Document, owner_id=document.owner_id, document_id=document.id)


@contextmanager
def _stage(lease: Lease, status: str) -> Iterator[None]:
    started = time.monotonic()
    lease.update(status=status, stage_progress=0, stage_started_at=timezone.now(), waiting_for="")
    yield
    earlier = lease.document.stage_seconds
    lease.update(stage_seconds={**earlier, str(status): round(time.monotonic() - started, 3)})


def _progress_writer(lease: Lease) -> Callable[[float], None]:
    written = time.monotonic()

    def write(progress: float) -> None:
        nonlocal written
        lease.check()
        if time.monotonic() - written >= PROGRESS_SECONDS:
            lease.update(stage_progress=min(max(progress, 0), 1))
            written = time.monotonic()

    return write


def _extract(lease: Lease) -> Extraction:
    document = lease.document
    write = _progress_writer(lease)

    def on_progress(progress: Progress) -> None:
        write(progress.progress)

    with _stage(lease, Status.EXTRACTING):
        client = SandboxClient(settings.LAYOUT.sandbox_socket)
        with document.file.open() as file:
            extraction = client.extract(file, document.content_type, on_progress=on_progress)
        if not extraction.text.strip():
            raise ExtractionRefused("no_text", "No text was found in this file.")
        lease.update(
            title=title_of(document.filename, extraction.title),
            language=detect(extraction.text),
            page_count=extraction.page_count,
        )
    return extraction


def title_of(filename: str, title: str | None) -> str:
    """What a document is called: the file's name as people say it, and its own title where that says more.

    Reports of one kind have one title ("Form 10-Q"); the name tells them apart, which finds the right one of them.
    """
    name = PurePosixPath(filename).stem.replace("_", " ").strip()
    if title and _letters(name) in _letters(title):
        return title[:300]
    if not title or _letters(title) in _letters(name):
        return name[:300]
    return f"{name}: {title}"[:300]


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _chunk(lease: Lease, extraction: Extraction, model: EmbeddingModel) -> None:
    with _stage(lease, Status.CHUNKING):
        passages = chunk(extraction, lease.document.language, encoder().count_tokens)
        write_chunks(lease, extraction, passages, model)


def _embed(lease: Lease, model: EmbeddingModel) -> None:
    with _stage(lease, Status.EMBEDDING):
        inputs = missing_embeddings(lease.document, model)
        done = lease.document.chunk_count - len(inputs)
        for start in range(0, len(inputs), EMBED_BATCH):
            batch = inputs[start : start + EMBED_BATCH]
            vectors = encoder().embed_passages([entry.text for entry in batch])
            done += len(batch)
            write_embeddings(lease, model, batch, vectors, progress=done / lease.document.chunk_count)


def _fail(lease: Lease, error: ExtractionRefused | ProcessingFailed | EncoderRejected) -> None:
    code = getattr(error, "code", "embedding_rejected")
    retryable = getattr(error, "retryable", code in RETRYABLE_REFUSALS)
    lease.update(
        status=Status.FAILED,
        error_code=code,
        error_detail=getattr(error, "detail", str(error)),
        error_retryable=retryable,
        attempt=None,
        lease_expires_at=None,
        waiting_for="",
    )


def _wait_or_fail(lease: Lease, error: Exception) -> None:
    """Give a document back that met a passing fault. A missing file is not one."""
    if isinstance(error, FileNotFoundError):
        detail = "The file is gone from the storage. Upload it again."
        _fail(lease, ProcessingFailed("file_missing", detail, retryable=False))
        return
    if isinstance(error, OSError) and error.errno not in TRANSIENT_ERRNOS | {None}:
        logger.warning("Document %s waits after %r", lease.document.id, error)
    wait = BACKOFF_SECONDS[min(lease.document.attempts, len(BACKOFF_SECONDS)) - 1]
    reason = next((text for kind, text in WAITING.items() if isinstance(error, kind)), "The database was away.")
    logger.warning("Document %s is tried again in about %s s: %s", lease.document.id, wait, error)
    lease.release(wait=wait, reason=reason)
