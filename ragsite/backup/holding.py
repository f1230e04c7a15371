"""While a backup is being made no file goes that it may still need.

The backup holds an advisory lock of a transaction, which ends with it however it ends, also behind PgBouncer. Who
removes a file of a row that is deleted tries the shared half of that lock *after* the row's deletion was committed:
where it is to be had, no snapshot that begins later knows the row; else the folder is noted, and the hourly sweep
removes it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from django.db import DatabaseError, connection

from ragsite.backup.models import HeldFolder
from ragsite.folders import remove_folder

logger = logging.getLogger(__name__)

LOCK = "hashtextextended('ragsite.backup', 0)"
WAIT_SECONDS = 10


class BackupRunning(Exception):
    """There is another one."""


def release_folder(folder: str) -> None:
    """Remove a folder whose row is gone, now or after the backup that is being made."""
    try:
        held = not _may_go()
        if held:
            HeldFolder.objects.bulk_create([HeldFolder(path=folder)], ignore_conflicts=True)
    except DatabaseError as error:
        logger.warning("%s is left to the hourly sweep: %s", folder, str(error).strip().splitlines()[0])
        return
    if not held:
        remove_folder(folder)


def release_held() -> int:
    """Remove what was noted, unless a backup runs. Returns how many folders went."""
    folders = list(HeldFolder.objects.all())
    if not folders or not _may_go():
        return 0
    for folder in folders:
        remove_folder(folder.path)
        folder.delete()
    return len(folders)


def _may_go() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_xact_lock_shared({LOCK})")
        return bool(cursor.fetchone()[0])


@contextmanager
def files_held(parameters: dict[str, Any]) -> Iterator[Any]:
    """Keep all files until the block ends. Yields the connection that does; raises BackupRunning."""
    keeper = psycopg2.connect(**parameters)
    try:
        with keeper.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"
            )
            try:
                cursor.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            except psycopg2.errors.LockNotAvailable as error:
                raise BackupRunning("Another backup of this site is being made.") from error
        yield keeper
    finally:
        with suppress(psycopg2.Error):
            keeper.rollback()  # a connection's end alone is heard by the server some time later
        keeper.close()
