"""Files that no row owns: what a crash between the storage and the database leaves behind."""

import contextlib
import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.core.files.storage import default_storage
from django.utils import timezone

from documents.importing.models import Import
from documents.models import Document
from documents.services import delete_files
from documents.tus.receiving import sweep_expired
from ragsite import limits
from ragsite.api.uploads import remove_left
from ragsite.backup.holding import release_held

GRACE = timedelta(hours=1)
"""An upload stores its file before its row: younger folders are left alone."""
PLAUSIBLE, PLAUSIBLE_SHARE = 20, 0.05
"""Crashes leave few orphans. More of them, in number and as a share of all, mean that files and database do not belong
together."""
logger = logging.getLogger(__name__)


def sweep_files() -> int:
    """Delete the folders of documents that have no row, and uploads that broke off. Returns how many went."""
    held = release_held()
    folders = list(_folders())
    orphans = [orphan for owner, documents in folders for orphan in _orphans(owner, documents)]
    if len(orphans) > max(PLAUSIBLE, PLAUSIBLE_SHARE * sum(len(documents) for _, documents in folders)):
        logger.error(
            "%s folders of files have no document in this database, which looks like the wrong database or an old "
            "backup: nothing was removed. If they may go, remove them by hand.",
            len(orphans),
        )
        return held + sweep_expired() + remove_left()
    for owner_id, document_id in orphans:
        limits.check()
        delete_files(owner_id, document_id)
    return held + len(orphans) + sweep_expired() + remove_left()


def _folders() -> Iterator[tuple[int, list[UUID]]]:
    """Owners and the ids of the documents that have a folder."""
    with contextlib.suppress(FileNotFoundError):  # nothing was ever stored
        yield from _folders_of(default_storage.listdir("")[0])


def _folders_of(owners: list[str]) -> Iterator[tuple[int, list[UUID]]]:
    for owner in owners:
        if owner.isdecimal():
            yield int(owner), [UUID(name) for name in default_storage.listdir(owner)[0]]


def _orphans(owner_id: int, folders: list[UUID]) -> Iterator[tuple[int, UUID]]:
    known = {
        *Document.objects.filter(owner_id=owner_id, id__in=folders).values_list("id", flat=True),
        *Import.objects.filter(owner_id=owner_id, id__in=folders).values_list("id", flat=True),
    }
    newest = timezone.now() - GRACE
    for document_id in folders:
        if document_id not in known and _made_at(document_id) < newest.timestamp():
            yield owner_id, document_id


def _made_at(document_id: UUID) -> float:
    """When an id of version 7 was made, in seconds (RFC 9562, section 5.7: its first 48 bits are milliseconds)."""
    return (document_id.int >> 80) / 1000
