"""Writes of documents and collections: all that spans rows, files or the queue."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from documents.caching import library_changed, names_changed
from documents.models import Collection, Document, Membership
from documents.queue.waking import wake_for, wake_for_all
from documents.signals import documents_deleted
from documents.sniffing import UnsupportedFormat, sniff
from documents.versions import lock_versions, take_out
from ragsite import tracing
from ragsite.backup.holding import release_folder
from ragsite.sharding.line import has_work

if TYPE_CHECKING:
    from documents.querysets import DocumentQuerySet
    from ragsite.accounts.models import User

logger = logging.getLogger(__name__)
READ_SIZE = 1 << 20
SNIFF_SIZE = 1 << 16
MOST_RETRIED = 10_000


class UploadRefused(Exception):
    """A file that is not taken: ``code`` for programs, ``detail`` for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Gone(LookupError):
    """What is worked on was deleted at this very moment."""


class DocumentGone(Gone):
    """The document was."""


class CollectionGone(Gone):
    """A collection was."""


@dataclass(frozen=True)
class Upload:
    """What came of an upload."""

    document: Document
    created: bool


def upload_document(*, owner: "User", file: File, filename: str, collections: Sequence[Collection] = ()) -> Upload:
    """Store a file as a document of the owner and have it processed.

    The same content by the same owner is the document that is there already. Raises UploadRefused for what is not
    taken, and OSError with nothing left behind when the disk is full.
    """
    name = clean_filename(filename)
    content_type, digest = _examine(file, name)
    known = _find(owner, digest)
    if known and _use_known(owner, known, file, collections):
        return Upload(known, created=False)
    created = _create_document(owner, file, name, content_type, digest, collections)
    if created:
        _let_go(file)
        return Upload(created, created=True)
    first = _find(owner, digest)
    if first and _use_known(owner, first, file, collections):
        return Upload(first, created=False)
    raise UploadRefused("conflict", "This file is being uploaded and deleted at the same time. Try again.")


def _find(owner: "User", digest: bytes) -> Document | None:
    return Document.objects.for_user(owner).filter(sha256=digest).first()


def _use_known(owner: "User", known: Document, file: File, collections: Sequence[Collection]) -> bool:
    """Take the document that has this content; mend it if its file is gone. False when it was deleted meanwhile."""
    try:
        add_to_collections(owner=owner, documents=[known.id], collections=collections)
    except DocumentGone:
        return False
    return default_storage.exists(known.file.name or "") or _mend(known, file)


def _let_go(file: File) -> None:
    """Close a temporary file that was stored: collected unclosed, it would miss what the storage has moved away."""
    if isinstance(file, TemporaryUploadedFile):
        file.close()


def _mend(document: Document, file: File) -> bool:
    """Give a document its file back. False when the file has been moved already, for a document that lost a race."""
    try:
        document.file.save(document.filename, file, save=False)
    except FileNotFoundError:
        return False
    _let_go(file)
    if not _row(document).update(file=document.file.name):
        delete_files(document.owner_id, document.id)
        return False
    reprocess_documents([document])
    return True


def _row(document: Document) -> "DocumentQuerySet":
    return Document.objects.filter(owner=document.owner_id, id=document.id)


def clean_filename(filename: str) -> str:
    """The last part of the name, without control characters; names from users are shown, never used as paths."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    printable = "".join(character for character in name if character.isprintable()).strip()
    if len(printable) > 255:
        stem, suffix = Path(printable).stem, Path(printable).suffix[:20]
        printable = stem[: 255 - len(suffix)] + suffix
    return printable or "unnamed"


def _examine(file: File, filename: str) -> tuple[str, bytes]:
    """The content type by content and the SHA-256 of the file. Raises UploadRefused."""
    limit = settings.RAGSITE_MAX_UPLOAD_MB << 20
    if file.size > limit:
        raise UploadRefused("too_large", f"The file is larger than {settings.RAGSITE_MAX_UPLOAD_MB} MB.")
    file.seek(0)
    head = file.read(SNIFF_SIZE)
    file.seek(0)
    try:
        content_type = sniff(head, file, filename)
    except UnsupportedFormat as refusal:
        raise UploadRefused(refusal.code, refusal.detail) from refusal
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(READ_SIZE):
        digest.update(block)
    file.seek(0)
    return content_type, digest.digest()


def _create_document(
    owner: "User", file: File, filename: str, content_type: str, digest: bytes, collections: Sequence[Collection]
) -> Document | None:
    """The new document, or None when another upload of the same content was first."""
    document = Document(owner=owner, filename=filename, content_type=content_type, size=file.size, sha256=digest)
    try:
        document.file.save(filename, file, save=False)
        with transaction.atomic():
            document.save(force_insert=True)
            has_work(document.owner_id)
            names_changed(document.owner_id, [document.id])
            _insert_memberships(owner, [document.id], _locked(owner, collections))
            transaction.on_commit(partial(wake_for, document))
    except (OperationalError, InterfaceError):
        raise  # it may have been committed: the file stays, and the sweep removes it if it was not
    except BaseException as error:
        delete_files(document.owner_id, document.id)
        if isinstance(error, IntegrityError) and "owner_sha256" in str(error):
            return None
        raise
    tracing.document_arrived(document.id, size=document.size, content_type=content_type)
    return document


def _insert_memberships(owner: "User", documents: Iterable[UUID], collections: Sequence[Collection]) -> None:
    rows = [
        Membership(owner=owner, collection=collection, document_id=document)
        for document in documents
        for collection in collections
    ]
    Membership.objects.bulk_create(rows, ignore_conflicts=True)


def add_to_collections(*, owner: "User", documents: Iterable[UUID], collections: Sequence[Collection]) -> None:
    """Put documents into collections; those that are in already stay. All must be the owner's.

    Raises DocumentGone when one was deleted meanwhile, and CollectionGone likewise.
    """
    wanted = list(documents)
    if collections and wanted:
        with transaction.atomic():
            _lock(owner.pk, wanted)
            _insert_memberships(owner, wanted, _locked(owner, collections))
            names_changed(owner.pk, wanted)


def _lock(owner_id: int, documents: list[UUID]) -> None:
    """Keep documents from being deleted until the transaction ends. Raises DocumentGone."""
    rows = Document.objects.filter(owner_id=owner_id, id__in=documents).order_by("id").select_for_update(no_key=True)
    if len(rows.values_list("id")) < len(set(documents)):
        raise DocumentGone


def _locked(owner: "User", collections: Sequence[Collection]) -> list[Collection]:
    ids = [collection.id for collection in collections]
    rows = Collection.objects.for_user(owner).filter(id__in=ids).order_by("id").select_for_update(no_key=True)
    found = list(rows)
    if len(found) < len(set(ids)):
        raise CollectionGone
    return found


def rename_document(*, document: Document, filename: str) -> None:
    """Give a document another name; its content type, chunks and citations stay as they are. Raises DocumentGone."""
    document.filename = clean_filename(filename)
    with transaction.atomic():
        renamed = _row(document).update(filename=document.filename, updated_at=Now())
        names_changed(document.owner_id, [document.id])
    if not renamed:
        raise DocumentGone


def set_collections(*, document: Document, collections: Sequence[Collection]) -> None:
    """Make these the collections of the document. Raises DocumentGone and CollectionGone."""
    with transaction.atomic():
        _lock(document.owner_id, [document.id])
        kept = _locked(document.owner, collections)
        document.memberships.filter(owner=document.owner_id).exclude(collection__in=kept).delete()
        _insert_memberships(document.owner, [document.id], kept)
        names_changed(document.owner_id, [document.id])


def save_collection(*, collection: Collection) -> None:
    """Write a collection, new or changed. Raises IntegrityError where the owner has another one of its name."""
    with transaction.atomic():
        collection.save()
        names_changed(collection.owner_id)


def delete_collection(*, collection: Collection) -> None:
    """Delete a collection; its documents stay."""
    with transaction.atomic():
        names_changed(collection.owner_id)
        # Memberships go by the database's cascade. Django's own would look for them by the collection alone.
        rows = Collection.objects.filter(owner=collection.owner_id, id=collection.id)
        rows._raw_delete(rows.db)


def retry_documents(documents: "Iterable[Document]") -> int:
    """Try failed documents again, from the beginning. Returns how many were failed."""
    return _restart(documents, statuses=[Document.Status.FAILED])


def retry_failed(documents: "DocumentQuerySet") -> int:
    """The same for as many of these as one statement should change. Returns how many it has changed."""
    first = documents.failed().order_by("uploaded_at", "id").only("id", "owner_id")[:MOST_RETRIED]
    return _restart(first, statuses=[Document.Status.FAILED])


def reprocess_documents(documents: "Iterable[Document]") -> int:
    """Process documents anew; they stay searchable as they are until the new chunks replace the old."""
    return _restart(documents, statuses=[Document.Status.FAILED, Document.Status.PROCESSED])


def _restart(documents: "Iterable[Document]", statuses: list[str]) -> int:
    """A statement for each owner, whose rows may be on a shard of their own."""
    by_owner: dict[int, list[UUID]] = defaultdict(list)
    for document in documents:
        by_owner[document.owner_id].append(document.id)
    with transaction.atomic():
        count = sum(_restart_of(owner_id, ids, statuses) for owner_id, ids in by_owner.items())
        if count:
            transaction.on_commit(wake_for_all)
    return count


def _restart_of(owner_id: int, ids: list[UUID], statuses: list[str]) -> int:
    library_changed(owner_id)
    has_work(owner_id)
    rows = Document.objects.filter(owner_id=owner_id, id__in=ids, status__in=statuses)
    return rows.update(
        status=Document.Status.UPLOADED,
        stage_progress=0,
        stage_started_at=None,
        stage_seconds={},
        error_code="",
        error_detail="",
        error_retryable=False,
        attempt=None,
        attempts=0,
        crashes=0,
        waiting_for="",
        lease_expires_at=None,
        due_at=Now(),
        restarted_at=Now(),
        processed_at=None,
        updated_at=Now(),
    )


def delete_documents(*, owner_id: int, documents: Iterable[UUID]) -> int:
    """Delete documents with their files, chunks, embeddings and all that was derived from them.

    The rows go first, in one transaction (the database cascades); a file that outlives a crash after that is an orphan
    that the hourly sweep removes.
    """
    with transaction.atomic():
        lock_versions(owner_id)
        rows = Document.objects.filter(owner_id=owner_id, id__in=list(documents)).select_for_update(of=("self",))
        found = list(rows.order_by("id").values_list("id", flat=True))
        if found:
            names_changed(owner_id)
            documents_deleted.send(Document, owner_id=owner_id, document_ids=found)
            take_out(owner_id, found)
            delete_rows(owner_id, found)
            for document in found:
                transaction.on_commit(partial(delete_files, owner_id, document))
    return len(found)


def delete_rows(owner_id: int, documents: list[UUID]) -> None:
    """One DELETE: Django's own would fetch every row of the children first, which the database's cascade needs not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM documents_document WHERE owner_id = %s AND id = ANY (%s::uuid[])",
            [owner_id, [str(document) for document in documents]],
        )


def delete_files(owner_id: int, document_id: UUID) -> None:
    """Remove the folder of a document: its file and what was made of it; after the backup, where one is being made."""
    release_folder(f"{owner_id}/{document_id}")
