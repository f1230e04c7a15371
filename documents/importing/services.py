"""Imports: begun, and given up."""

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celery import current_app
from django.conf import settings
from django.core.files.base import File
from django.db import InterfaceError, OperationalError, transaction

from documents.importing.fetching import checked_address
from documents.importing.models import Import
from documents.models import Collection
from documents.services import UploadRefused, clean_filename, delete_files

if TYPE_CHECKING:
    from ragsite.accounts.models import User

logger = logging.getLogger(__name__)
RUN_TASK = "documents.tasks.run_imports"
MOST_OPEN = 1000
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


def import_archive(
    *, owner: "User", file: File, filename: str, collections: Sequence[Collection] = (), folders: bool = False
) -> Import:
    """Keep an archive and have its files made documents. Raises UploadRefused, and OSError with nothing left behind."""
    if file.size > settings.RAGSITE_MAX_UPLOAD_MB << 20:
        raise UploadRefused("too_large", f"The file is larger than {settings.RAGSITE_MAX_UPLOAD_MB} MB.")
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    if head not in _ZIP:
        raise UploadRefused("unsupported", "This is no ZIP archive.")
    job = _new(owner, Import.Kind.ARCHIVE, clean_filename(filename), collections)
    job.folders = folders
    try:
        job.file.save(job.source, file, save=False)
        _save(job)
    except (OperationalError, InterfaceError):
        raise  # it may have been committed: the file stays, and the sweep removes it if it was not
    except BaseException:
        delete_files(owner.pk, job.id)
        raise
    return job


def import_address(*, owner: "User", address: str, collections: Sequence[Collection] = ()) -> Import:
    """Have the file at a web address made a document. Raises UploadRefused for what is no address."""
    job = _new(owner, Import.Kind.ADDRESS, str(checked_address(address)), collections)
    _save(job)
    return job


def _new(owner: "User", kind: str, source: str, collections: Sequence[Collection]) -> Import:
    if Import.objects.for_user(owner).unfinished().count() >= MOST_OPEN:
        raise UploadRefused("too_many_imports", f"{MOST_OPEN:,} of your imports are waiting. Let them finish first.")
    return Import(owner=owner, kind=kind, source=source[:2000], collections=[row.id for row in collections])


def _save(job: Import) -> None:
    with transaction.atomic():
        job.save(force_insert=True)
        transaction.on_commit(wake_importer)


def wake_importer() -> None:
    """Tell upkeep that there is something to import; it looks every few seconds anyway."""
    try:
        current_app.send_task(RUN_TASK, retry=False, expires=60)
    except Exception as error:  # whatever the broker's driver raises
        logger.warning("The broker cannot be reached (%s); the import waits for the next round.", error)


def drop_import(job: Import) -> None:
    """Stop an import and forget it. The documents that it has made stay."""
    job.delete()
    forget_archive(job)


def forget_archive(job: Import) -> None:
    """The archive is not kept when all its files are documents; if it cannot be removed now, the sweep will."""
    with contextlib.suppress(OSError):
        delete_files(job.owner_id, job.id)
