"""How an attempt on a document ends other than well: failed with a reason, or given back to be gone on with."""

import errno
import logging
import time

from django.db import InterfaceError, OperationalError, close_old_connections, connection
from psycopg2.errors import DiskFull

from documents.models import Document
from documents.queue.failures import WAITS, told
from processing.leases import Lease
from ragsite.encoder.client import EncoderUnavailable
from ragsite.metrics import record
from ragsite.sandbox import SandboxUnavailable

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (1, 2, 5, 10, 20, 30)
GIVE_BACK_PAUSES = (0.5, 1, 2, 4, 8)
"""Seconds between the tries; a killed PostgreSQL is back after two to ten."""
WAITING: dict[type[Exception], str] = {
    EncoderUnavailable: WAITS["encoder_unavailable"],
    SandboxUnavailable: WAITS["sandbox_unavailable"],
    OSError: WAITS["storage_unavailable"],
    OperationalError: WAITS["database_unavailable"],
    InterfaceError: WAITS["database_unavailable"],
}
PASSING_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, None}
"""Faults of the storage that pass; None is what storages over a network raise."""
PASSING = (EncoderUnavailable, SandboxUnavailable, OperationalError, InterfaceError, OSError)
RETRYABLE_REFUSALS = {"timeout", "embedding_rejected"}
"""What may go well on another day: on a quiet machine, or with another model. All else depends on the file alone."""
SITE_FAULTS = {"file_missing", "storage_error"}
"""Beside what may go well on another day: the file is not to blame."""


class ProcessingFailed(Exception):
    """A document that cannot be processed: ``code`` for programs, ``detail`` for people."""

    def __init__(self, code: str, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable


class SliceEnded(Exception):
    """The document has had its share of a worker's time: others first, then it goes on."""


class GivenOver(SliceEnded):
    """The document is read and split: a worker for embedding goes on with it."""


def fail(lease: Lease, error: Exception) -> None:
    """Write the failure to the document's row. Raises LeaseLost."""
    code = getattr(error, "code", "embedding_rejected")
    retryable = getattr(error, "retryable", code in RETRYABLE_REFUSALS)
    lease.update(
        status=Document.Status.FAILED,
        error_code=code,
        error_detail=told(code, getattr(error, "detail", str(error))),
        error_retryable=retryable,
        attempt=None,
        lease_expires_at=None,
        waiting_for="",
    )
    record.document_failed(by_the_site=retryable or code in SITE_FAULTS)


def fail_unexpectedly(lease: Lease) -> None:
    """The same for a fault of the site, which is logged and not told. Raises LeaseLost."""
    logger.exception("Document %s failed by a fault of the site", lease.document.id)
    detail = "Processing ended with an unexpected error; it is in the site's log. Try again, or tell an administrator."
    fail(lease, ProcessingFailed("internal_error", detail, retryable=True))


def wait_or_fail(lease: Lease, error: Exception) -> None:
    """Give a document back that met a passing fault, fail it for one that stays. Raises LeaseLost."""
    if isinstance(error, OSError) and error.errno not in PASSING_ERRNOS:
        fail(lease, _storage_failure(error))
        return
    if not connection.in_atomic_block:
        close_old_connections()  # after a fault of the database this one may be dead
    wait = BACKOFF_SECONDS[min(lease.document.attempts, len(BACKOFF_SECONDS)) - 1]
    reason = _reason(error)
    logger.warning("Document %s is tried again in about %s s: %s", lease.document.id, wait, error)
    _give_back(lease, wait, reason)


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, DiskFull):  # the database's disk
        return WAITS["storage_unavailable"]
    return next(text for kind, text in WAITING.items() if isinstance(error, kind))


def _give_back(lease: Lease, wait: float, reason: str) -> None:
    """Release the lease, also when the database must be waited for: one that runs out counts as a crash, of which the
    document is innocent. Raises LeaseLost, and the database's error when it stays away."""
    for pause in (*GIVE_BACK_PAUSES, None):
        try:
            lease.release(wait=wait, reason=reason)
            return
        except (OperationalError, InterfaceError):
            if pause is None or connection.in_atomic_block:
                raise
            connection.close()
            time.sleep(pause)


def _storage_failure(error: OSError) -> ProcessingFailed:
    if isinstance(error, FileNotFoundError):
        detail = "The file is gone from the storage. Upload it again: that mends this document."
        return ProcessingFailed("file_missing", detail, retryable=False)
    logger.error("A file cannot be read: %r", error)
    detail = "The file cannot be read from the storage. Tell an administrator; then try again."
    return ProcessingFailed("storage_error", detail, retryable=True)
