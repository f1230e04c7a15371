"""What happens to a resumable upload: begun, grown block by block, made into a document, given up."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.utils import timezone

from documents.importing.services import import_archive
from documents.models import Collection
from documents.services import UploadRefused, clean_filename, upload_document
from documents.tus.models import PartialUpload, expiry
from ragsite.api.uploads import upload_limit

if TYPE_CHECKING:
    from ragsite.accounts.models import User

MOST_OPEN = 100
"""Unfinished uploads of one owner: each may hold as much of the disk as the largest file."""
CHECKSUMS = ("sha1", "sha256", "md5")


class TooManyOpen(Exception):
    """The owner has begun many uploads and finished none of them."""


class OffsetMoved(Exception):
    """The upload does not end where the client believes: somebody else has added to it."""


class ChecksumMismatch(Exception):
    """What arrived is not what was sent; nothing of it was kept."""


class Gathered(File):
    """The finished upload; having a path, it is moved into a local storage, not copied."""

    def __init__(self, opened: BinaryIO, upload: PartialUpload) -> None:
        super().__init__(opened, upload.filename)
        self._path = str(upload.path)

    def temporary_file_path(self) -> str:
        return self._path


def begin_upload(
    *, owner: "User", length: int, filename: str, metadata: str, collections: Sequence[UUID] = (), unpack: bool = False
) -> PartialUpload:
    """An empty upload. Raises UploadRefused for one that is too large, TooManyOpen, and OSError on a full disk."""
    if length > upload_limit():
        raise UploadRefused("too_large", f"The file is larger than {settings.RAGSITE_MAX_UPLOAD_MB} MB.")
    if length == 0:
        raise UploadRefused("empty", "The file is empty.")
    if PartialUpload.objects.filter(owner=owner, result=None, expires_at__gt=timezone.now()).count() >= MOST_OPEN:
        raise TooManyOpen
    upload = PartialUpload(owner=owner, length=length, filename=clean_filename(filename), metadata=metadata)
    upload.collections, upload.unpack = list(collections), unpack
    os.close(os.open(upload.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        upload.save(force_insert=True)
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    return upload


def append(upload: PartialUpload, offset: int, blocks: Iterable[bytes]) -> int:
    """Add bytes at the end of an upload, which must be at ``offset``; returns the new end.

    Every block is on the disk before the next one is asked for, so whatever dies, only the last block is sent again.
    Nothing is locked while bytes are awaited: of two who write at once, one finds the end moved (OffsetMoved), and a
    connection that hangs for ever keeps nobody out. OSError on a full disk; what fitted stays and counts.
    """
    PartialUpload.objects.filter(id=upload.id).update(expires_at=expiry())
    with upload.path.open("r+b", buffering=0) as file:
        for block in blocks:
            offset = _write(file, offset, block)
    return offset


def _write(file: IO[bytes], offset: int, block: bytes) -> int:
    with _locked(file):
        if os.fstat(file.fileno()).st_size != offset:
            raise OffsetMoved
        rest = memoryview(block)
        while rest:
            written = os.pwrite(file.fileno(), rest, offset)
            offset, rest = offset + written, rest[written:]
    return offset


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Keep other processes out; ends with this one at the latest."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def verified(blocks: Iterable[bytes], algorithm: str, digest: bytes) -> Iterator[bytes]:
    """The same blocks, all of them held back on the disk until their checksum is right. Raises ChecksumMismatch."""
    seen = hashlib.new(algorithm, usedforsecurity=False)
    with tempfile.TemporaryFile(dir=settings.LAYOUT.uploads_dir) as held:
        for block in blocks:
            seen.update(block)
            held.write(block)
        if seen.digest() != digest:
            raise ChecksumMismatch
        held.seek(0)
        while block := held.read(1 << 20):
            yield block


def finish(upload: PartialUpload) -> None:
    """Make a complete upload what it is to be; again if that broke off before, and once if two ask for it.

    Raises UploadRefused, and nothing is left; or whatever keeps it from being stored now, and it can be asked again.
    """
    with upload.path.open("rb") as opened, _locked(opened):
        upload.refresh_from_db()
        if upload.result is not None:
            return
        try:
            upload.result = _stored(upload, opened)
        except UploadRefused:
            drop(upload)
            raise
        upload.save(update_fields=["result"])
    upload.path.unlink(missing_ok=True)  # moved away already, unless the storage is elsewhere or had it


def _stored(upload: PartialUpload, opened: BinaryIO) -> UUID:
    file = Gathered(opened, upload)
    collections = list(Collection.objects.for_user(upload.owner).filter(id__in=upload.collections))
    if upload.unpack:
        return import_archive(owner=upload.owner, file=file, filename=upload.filename, collections=collections).id
    made = upload_document(owner=upload.owner, file=file, filename=upload.filename, collections=collections)
    return made.document.id


def drop(upload: PartialUpload) -> None:
    """Give an upload up: neither row nor bytes stay."""
    path = upload.path
    upload.delete()
    path.unlink(missing_ok=True)


def sweep_expired() -> int:
    """Drop the uploads that nobody went on with, and forget the finished ones. Returns how many were unfinished."""
    expired = list(PartialUpload.objects.filter(expires_at__lt=timezone.now()).order_by("expires_at")[:1000])
    unfinished = sum(upload.result is None for upload in expired)
    for upload in expired:
        drop(upload)
    return unfinished
