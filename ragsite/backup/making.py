"""`manage.py backup`: the database at one moment, every file that it names, and what the site must know again.

First all removals of files are put off (``holding``), then a snapshot is taken: what a row of it names was stored
before the row and stays until the end. pg_dump reads that snapshot while people go on uploading and deleting.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from django.apps import apps
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.db.models import FileField, Model, Q
from psycopg2.sql import SQL, Identifier

from ragsite.backup import archive, postgres
from ragsite.backup.archive import BackupError, Manifest
from ragsite.backup.holding import BackupRunning, files_held
from ragsite.layout import PROJECT_DIR
from ragsite.sharding.state import is_sharded

LEFT_OUT = ("django_session", "caching_epoch", "backup_heldfolder", "documents_partialupload", "silk_*")
"""Tables without their rows: who was signed in, what caches went by, uploads whose bytes are on their way, and silk's
records."""
OF_THE_CLUSTER = ("postgres_", "valkey_")
"""Secrets that belong to a data folder's own servers: a new one makes its own."""
UNFINISHED = ".unfinished-"
PLAUSIBLE, PLAUSIBLE_SHARE = 20, 0.05
"""Faults lose few files. More of them, in number and as a share of all, mean that this is not their storage."""
# Asked in the snapshot, as pg_dump does: what to_regclass says is of now.
BEING_SPLIT = """
SELECT one.relname::text FROM pg_class one JOIN pg_class new
  ON new.relname = one.relname || '_split' AND new.relnamespace = one.relnamespace AND new.relkind = 'p'
WHERE one.relispartition AND one.relnamespace = current_schema()::regnamespace ORDER BY 1
"""


@dataclass(frozen=True)
class Made:
    """What came of it."""

    folder: Path
    manifest: Manifest


def backup(target: Path) -> Made:
    """Make a backup of the running site in a folder that is not there yet.

    Raises BackupError, and leaves nothing behind then.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already and not empty. Name a new folder.")
    try:
        with _errors_for_people():
            _refuse_sharded()
            with files_held(connection.get_connection_params()) as keeper, _draft(target) as draft:
                manifest = _fill(draft)
                with keeper.cursor() as cursor:
                    cursor.execute("SELECT 1")  # still held: else a file may have gone that the snapshot names
                manifest.write(draft)
                if target.exists():
                    target.rmdir()
                draft.rename(target)
    except OSError as error:
        raise BackupError(f"The backup could not be made: {error}. Nothing was kept of it.") from error
    return Made(target, manifest)


@contextlib.contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except (psycopg2.Error, DatabaseError, postgres.DatabaseToolFailed) as error:
        reason = " ".join(str(error).split())
        raise BackupError(f"The database could not be backed up: {reason} Nothing was kept of it.") from error
    except BackupRunning as error:
        raise BackupError(str(error)) from error


def _refuse_sharded() -> None:
    """The shards of several nodes know no common snapshot."""
    if is_sharded():
        raise BackupError(
            "This database is distributed by Citus, and pg_dump would read its nodes at different moments. Back up "
            "each node by itself (pg_basebackup and archived WAL), and make points to restore all of them to by "
            "SELECT citus_create_restore_point('NAME') on the coordinator; docs/backup.md says more."
        )


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A new folder beside the target, gone at the end unless it was renamed; those of killed backups go first.

    It is locked as long as its process lives, in whichever container that is: several sites may keep their backups in
    one folder. Where a file system knows no locks nothing is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"*{UNFINISHED}*"):
        with contextlib.suppress(OSError), _locked(left):
            if {part.name for part in left.iterdir()} <= archive.PARTS:
                shutil.rmtree(left)
    draft = Path(tempfile.mkdtemp(prefix=f"{target.name}{UNFINISHED}", dir=target.parent))
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                stack.enter_context(_locked(draft))
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises OSError where somebody else has locked it, or the file system knows no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _fill(draft: Path) -> Manifest:
    parameters = connection.get_connection_params()
    with _snapshot(parameters) as (cursor, snapshot):
        _refuse_unfinished_split(cursor)
        major = cursor.connection.server_version // 10_000
        postgres.dump(draft / archive.DATABASE, parameters, major, snapshot, list(LEFT_OUT))
        rows = _counts(cursor)
        files, size, missing = _copy_files(cursor.connection, draft)
        cursor.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1")
        migrations = [row[0] for row in cursor.fetchall()]
    _copy_secrets(draft / archive.SECRETS)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(made_at, _revision(), major, migrations, rows, files, size, missing, list(LEFT_OUT))


def _refuse_unfinished_split(cursor: Any) -> None:
    """Its new partitions name their parent by a number that it does not have where they are restored."""
    cursor.execute(BEING_SPLIT)
    found = [row[0] for row in cursor.fetchall()]
    if found:
        raise BackupError(
            f"A backup cannot be made while partitions are being split ({', '.join(found)}): it could not be restored. "
            "Wait for `manage.py partitions --repartition` to end; if none runs, finish it by the same command, or "
            "take it back with `manage.py partitions --undo`."
        )


def _copy_files(reader: Any, draft: Path) -> tuple[int, int, list[str]]:
    """How many files were copied, their bytes, and the names of those that are missing."""
    files, size, missing = 0, 0, []
    with archive.written(draft / archive.FILES_LIST) as listed:
        for name in _names(reader):
            stored = _copy(name, draft / archive.FILES)
            if stored is None:
                missing.append(name)
                continue
            listed.write(archive.line(stored))
            files, size = files + 1, size + stored.size
    if len(missing) > max(PLAUSIBLE, PLAUSIBLE_SHARE * (files + len(missing))):
        raise BackupError(
            f"The storage does not have {len(missing)} of {files + len(missing)} files that rows name ({missing[0]} "
            "is one of them): is its volume mounted, is it the right one? Nothing was kept of the backup."
        )
    return files, size, missing


@contextlib.contextmanager
def _snapshot(parameters: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """A transaction that sees one moment, and that moment's name for others."""
    reader = psycopg2.connect(**parameters)
    try:
        reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with reader.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_export_snapshot()")
            yield cursor, cursor.fetchone()[0]
    finally:
        reader.close()


def _counts(cursor: Any) -> dict[str, int]:
    """The rows of every table of ours that is kept, as the snapshot has them."""
    counted = {}
    for table in sorted({model._meta.db_table for model in apps.get_models(include_auto_created=True)}):
        if table not in LEFT_OUT and not table.startswith("silk_"):
            cursor.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table)))
            counted[table] = cursor.fetchone()[0]
    return counted


def _names(reader: Any) -> Iterator[str]:
    """The files that rows of the snapshot name."""
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, FileField):
                with reader.cursor(name="files") as cursor:  # by slices: there may be millions
                    cursor.execute(*_query(model, field))
                    yield from (row[0] for row in cursor)


def _query(model: type[Model], field: FileField) -> tuple[str, tuple[Any, ...]]:
    """A model may say by ``files_needed`` of which rows the files must be there."""
    rows = model._default_manager.filter(getattr(model, "files_needed", Q())).exclude(**{field.name: ""})
    return rows.values_list(field.name).order_by(field.name).query.sql_with_params()


def _copy(name: str, folder: Path) -> archive.StoredFile | None:
    """None where the storage has no such file."""
    try:
        with default_storage.open(name) as source:
            size, sha256 = archive.copied(source, folder / name)
    except FileNotFoundError:
        return None
    return archive.StoredFile(name, size, sha256)


def _copy_secrets(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for path in settings.LAYOUT.secrets_dir.iterdir():
        if path.is_file() and not path.name.startswith(OF_THE_CLUSTER):
            with path.open("rb") as source:
                archive.copied(source, folder / path.name)


def _revision() -> str:
    command = ["git", "-C", str(PROJECT_DIR), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
