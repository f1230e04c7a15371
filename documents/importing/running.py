"""Imports at work. The rows are the queue, as with documents: claimed with a lease, gone on with where they were."""

import contextlib
import errno
import fcntl
import logging
import threading
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.files.base import File
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from documents.importing.archive import DAMAGED, Member, members_of, open_archive
from documents.importing.fetching import fetch
from documents.importing.models import Import, ImportItem
from documents.importing.services import forget_archive
from documents.models import Collection
from documents.services import UploadRefused, save_collection, upload_document
from documents.sniffing import UnsupportedFormat, sniff

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
MOST_CRASHES = 5
SLICE_SECONDS = 60.0
"""After so long with one archive a thread looks who else waits."""
PAUSE = timedelta(seconds=20)
AT_ONCE = 3
"""Imports that one process works on at the same time; they wait for the network and the disk more than they compute."""
MOST_COLLECTIONS = 200
"""That one archive's folders may become."""
DISK = {errno.ENOSPC, errno.EDQUOT}
Outcome = ImportItem.Outcome


class LeaseLost(Exception):
    """The import was deleted, or another process has taken it over."""


class SliceEnded(Exception):
    """It has had its share of time: others first, then it goes on."""


_free = threading.BoundedSemaphore(AT_ONCE)


def work_on_imports() -> None:
    """Start a thread that imports until nothing is due, unless as many as may run do."""
    if Import.objects.claimable().exists() and _free.acquire(blocking=False):
        threading.Thread(target=_work, name="import", daemon=True).start()


def _work() -> None:
    try:
        while run_next():
            pass
    except (OperationalError, InterfaceError):
        logger.warning("The database is away; imports go on when it is back.")
    finally:
        connection.close()
        _free.release()


def run_next() -> Import | None:
    """Claim the next due import and work on it as far as it goes. None when nothing was due."""
    job = _claim()
    if job is not None:
        with contextlib.suppress(LeaseLost), _leased(job):
            _attempt(job)
    return job


def _claim() -> Import | None:
    with transaction.atomic():
        job = (
            Import.objects.claimable().select_related("owner").select_for_update(skip_locked=True, of=("self",)).first()
        )
        if job is not None:
            job.crashes += job.lease_expires_at is not None
            job.attempt, job.status = uuid.uuid4(), Import.Status.RUNNING
            job.lease_expires_at = timezone.now() + LEASE
            job.save(update_fields=["crashes", "attempt", "status", "lease_expires_at"])
    return job


@contextmanager
def _leased(job: Import) -> Iterator[None]:
    """Renew the lease from a thread of its own: a member may take longer than it lasts."""
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(job, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join(timeout=5)


def _renew(job: Import, ended: threading.Event) -> None:
    try:
        while not ended.wait(LEASE.total_seconds() / 3):
            with contextlib.suppress(OperationalError, InterfaceError):
                _mine(job).update(lease_expires_at=Now() + LEASE)
    finally:
        connection.close()


def _mine(job: Import) -> Any:
    return Import.objects.filter(id=job.id, attempt=job.attempt)


def _update(job: Import, **values: Any) -> None:
    if not _mine(job).update(**values):
        raise LeaseLost


def _release(job: Import, **values: Any) -> None:
    _update(job, attempt=None, lease_expires_at=None, **values)


def _attempt(job: Import) -> None:
    try:
        if job.crashes >= MOST_CRASHES:
            raise UploadRefused(
                "crashed", f"It was stopped {job.crashes} times without getting on. Import less at once."
            )
        (_import_archive if job.kind == Import.Kind.ARCHIVE else _import_address)(job)
    except UploadRefused as refusal:
        _end(job, status=Import.Status.FAILED, error_code=refusal.code, error_detail=refusal.detail)
    except SliceEnded:
        _release(job, status=Import.Status.WAITING, due_at=Now())
    except FileNotFoundError:
        detail = "The archive is gone from the storage. Upload it again."
        _end(job, status=Import.Status.FAILED, error_code="file_missing", error_detail=detail)
    except OSError as error:
        _wait(job, error)
    except (LeaseLost, OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("Import %s failed by a fault of the site", job.id)
        _end(job, status=Import.Status.FAILED, error_code="internal", error_detail="Something went wrong here.")


def _wait(job: Import, error: OSError) -> None:
    """Faults of the disk pass."""
    what = "is full" if error.errno in DISK else "cannot be reached"
    logger.warning("Import %s waits: %s", job.id, error)
    reason = f"The disk {what}. This import goes on by itself when it can."
    _release(job, status=Import.Status.WAITING, waiting_for=reason, due_at=Now() + PAUSE)


def _end(job: Import, **values: Any) -> None:
    _release(job, finished_at=Now(), waiting_for="", **values)
    forget_archive(job)


def _import_address(job: Import) -> None:
    with _temporary() as file:
        fetched = fetch(job.source, file)
        file.size = fetched.size
        _record(job, 0, fetched.filename, file, fetched.filename)
    _end(job, status=Import.Status.DONE, done=1, total=1)


def _import_archive(job: Import) -> None:
    with job.file.open() as file:
        if _is_document(file, job.source):
            _record(job, 0, job.source, file, job.source)
            total = 1
        else:
            with open_archive(file) as archive:
                total = _import_members(job, archive)
    _end(job, status=Import.Status.DONE, done=total, total=total)


def _is_document(file: File, name: str) -> bool:
    """Whether the archive is a document itself, as office files and books are."""
    try:
        sniff(file.read(1 << 16), file, name)
    except UnsupportedFormat:
        return False
    return True


def _import_members(job: Import, archive: zipfile.ZipFile) -> int:
    members = members_of(archive)
    _update(job, total=len(members), waiting_for="")
    collections, ends = _Folders(job), time.monotonic() + SLICE_SECONDS
    for position in range(job.done, len(members)):
        _import_member(job, position, archive, members[position], collections)
        _update(job, done=position + 1, crashes=0)
        if time.monotonic() > ends and Import.objects.claimable().exists():
            raise SliceEnded
    return len(members)


def _import_member(job: Import, position: int, archive: zipfile.ZipFile, member: Member, folders: "_Folders") -> None:
    if member.is_left_out:
        _note(job, position, member.name, outcome=Outcome.LEFT_OUT)
        return
    try:
        member.refuse()
        with _temporary() as file:
            _unpack(archive, member, file)
            _record(job, position, member.name, file, member.name, folders.of(member))
    except UploadRefused as refusal:
        _note(job, position, member.name, outcome=Outcome.REFUSED, code=refusal.code, detail=refusal.detail)


def _unpack(archive: zipfile.ZipFile, member: Member, file: TemporaryUploadedFile) -> None:
    """Write the member's bytes; zipfile gives no more of them than the archive's list says."""
    try:
        with archive.open(member.info) as packed:
            while block := packed.read(1 << 20):
                file.write(block)
    except NotImplementedError as error:
        raise UploadRefused("unsupported", "It is packed in a way that is not read here.") from error
    except (*DAMAGED, zlib.error, RuntimeError) as error:
        raise UploadRefused("broken", "It is damaged and cannot be unpacked.") from error
    file.size = file.tell()


@contextmanager
def _temporary() -> Iterator[TemporaryUploadedFile]:
    """A file on its way in, gone afterwards unless it was moved into the storage."""
    file = TemporaryUploadedFile("import", None, 0, None)
    fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # unlocked when this process is killed: the sweep removes it then
    try:
        yield file
    finally:
        file.close()


def _record(
    job: Import, position: int, name: str, file: Any, filename: str, more: list[Collection] | None = None
) -> None:
    """Make a file a document, and note what it was. Raises UploadRefused."""
    chosen = list(Collection.objects.for_user(job.owner).filter(id__in=job.collections))
    made = upload_document(owner=job.owner, file=file, filename=filename, collections=[*chosen, *(more or [])])
    outcome = Outcome.CREATED if made.created else Outcome.KNOWN
    _note(job, position, name, outcome=outcome, document_id=made.document.id)


def _note(job: Import, position: int, name: str, **values: Any) -> None:
    """One line a file: what was killed after it has noted one does not note another."""
    with transaction.atomic():
        if not Import.objects.filter(id=job.id, attempt=job.attempt).select_for_update(no_key=True).exists():
            raise LeaseLost
        ImportItem.objects.get_or_create(job=job, position=position, defaults={"name": name[:1000], **values})


class _Folders:
    """The collections that an archive's folders are, made as they come."""

    def __init__(self, job: Import) -> None:
        self._job = job
        self._known: dict[str, Collection] = {}

    def of(self, member: Member) -> list[Collection]:
        name = member.folder
        if not self._job.folders or not name:
            return []
        if name.lower() not in self._known:
            if len(self._known) >= MOST_COLLECTIONS:
                return []
            self._known[name.lower()] = self._found_or_made(name)
        return [self._known[name.lower()]]

    def _found_or_made(self, name: str) -> Collection:
        mine = Collection.objects.for_user(self._job.owner)
        found = mine.filter(name__iexact=name).first()
        if found is None:
            found = Collection(owner=self._job.owner, name=name)
            save_collection(collection=found)
        return found
