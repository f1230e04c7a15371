"""`manage.py restore`: a backup into an empty place.

Everything is checked before anything is written. Files and secrets come first, the database last and in one
transaction: an interrupted restore has left an empty database, and is begun again by the same command. That it was one
of this backup says a file in the storage: without it, what is there is another site's.
"""

import os
from contextlib import suppress
from pathlib import Path

from celery import current_app
from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from psycopg2.sql import SQL, Identifier, Literal

from ragsite.backup import archive, postgres
from ragsite.backup.archive import BackupError, Manifest, StoredFile
from ragsite.folders import names_below
from ragsite.redis_servers import remove_keys

MARKER = ".restore-begun"
"""In the storage while a restore into it is not done; holds the SHA-256 of the backup's manifest."""


def restore(source: Path) -> Manifest:
    """Bring a backup back. Raises BackupError; what it says of the database holds."""
    manifest = archive.read_manifest(source)
    mark = archive.digest(source / archive.MANIFEST)
    _refuse_later_release(manifest)
    _refuse_used_database(manifest)
    files = archive.verify(source, manifest)
    try:
        if not _was_begun(mark):
            _refuse_used_storage()
            _refuse_other_secrets(source)
    except OSError as error:
        raise BackupError(f"The storage cannot be read: {error}. Nothing was changed.") from error
    try:
        _save(MARKER, ContentFile(mark.encode()))
        _restore_files(source, files)
        _restore_secrets(source)
        _restore_database(source, manifest)
    except OSError as error:
        raise BackupError(f"Files cannot be written: {error}. The database is still empty; begin again.") from error
    _finish()
    return manifest


def _refuse_later_release(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None, ignore_no_migrations=True).disk_migrations}
    ours = {name.split(".")[0] for name in known}
    later = [name for name in manifest.migrations if name not in known and name.split(".")[0] in ours]
    if later:
        raise BackupError(
            f"The backup was made by a later release of ragsite (it has {later[-1]}, which this one does not know): "
            "restore it with that release. Nothing was changed."
        )


def _refuse_used_database(manifest: Manifest) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false)) LIMIT 1")
            used = cursor.fetchone()
            major = postgres.server_major()
    except DatabaseError as error:
        raise BackupError(f"The database cannot be asked: {_line(error)}. Nothing was changed.") from error
    if used:
        raise BackupError(
            f"The database is not empty: it has a table {used[0]}. Nothing was changed. Restore into a new database, "
            "or with RAGSITE_DATA_DIR=… into a new data folder."
        )
    if major < manifest.postgres:
        raise BackupError(
            f"The backup is of PostgreSQL {manifest.postgres}, this server is {major}: it has to be as new, or newer."
        )


def _was_begun(mark: str) -> bool:
    """Whether an interrupted restore of this very backup has left what is in the storage."""
    try:
        with default_storage.open(MARKER) as file:
            return bool(file.read() == mark.encode())
    except FileNotFoundError:
        return False


def _refuse_used_storage() -> None:
    other = next((name for name in names_below(default_storage) if name != MARKER), None)
    if other is not None:
        raise BackupError(
            f"The storage is not empty: it holds {other}. Nothing was changed. Restore into an empty folder or prefix."
        )


def _refuse_other_secrets(source: Path) -> None:
    """A data folder that has files is a site's, also where this one's are to go to S3."""
    layout = settings.LAYOUT
    if not any(path.name != MARKER for path in layout.files_dir.glob("*")):
        return
    for path in (source / archive.SECRETS).iterdir():
        there = layout.secrets_dir / path.name
        if there.exists() and there.read_bytes().strip() != path.read_bytes().strip():
            raise BackupError(
                f"{there} is not the backup's, and {layout.files_dir} holds files: this data folder is another site's. "
                "Nothing was changed. Restore with RAGSITE_DATA_DIR=… into a new one."
            )


def _restore_files(source: Path, files: list[StoredFile]) -> None:
    for stored in files:
        with (source / archive.FILES / stored.name).open("rb") as content:
            _save(stored.name, File(content))


def _save(name: str, content: File) -> None:
    if default_storage.exists(name):
        default_storage.delete(name)  # of an interrupted restore: perhaps half of it
    saved = default_storage.save(name, content)
    if saved != name:
        raise BackupError(f"The storage has kept {name} as {saved}: is somebody else writing there?")


def _restore_secrets(source: Path) -> None:
    folder = settings.LAYOUT.secrets_dir
    for path in (source / archive.SECRETS).iterdir():
        draft = folder / f".{path.name}.{os.getpid()}"
        with path.open("rb") as content:
            archive.copied(content, draft)
        draft.rename(folder / path.name)


def _restore_database(source: Path, manifest: Manifest) -> None:
    connection.close()  # idle since the beginning, which may be hours ago: something between may have cut it
    try:
        parameters, major = connection.get_connection_params(), postgres.server_major()
        postgres.restore(source / archive.DATABASE, parameters, major, _count_checks(manifest))
    except (DatabaseError, postgres.DatabaseToolFailed) as error:
        raise BackupError(
            f"The database could not be restored: {_line(error)}. It is still empty; begin again."
        ) from error


def _finish() -> None:
    """The database is full now, whatever fails here."""
    connection.close()
    with suppress(Exception):  # whatever the drivers raise; it stands for nothing where the database has tables
        default_storage.delete(MARKER)
    forget_what_was()
    try:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # what the planner goes by is not in a dump
    except DatabaseError as error:
        raise BackupError(
            f"The site is restored, but PostgreSQL has not counted its rows ({_line(error)}): run ANALYZE in the "
            "database (`manage.py dbshell`), or queries may be slow."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _count_checks(manifest: Manifest) -> str:
    """SQL that raises where a table has other rows than the manifest says."""
    one = SQL("IF (SELECT count(*) FROM public.{}) <> {} THEN RAISE EXCEPTION 'the table % is not whole', {}; END IF;")
    with connection.cursor() as cursor:
        lines = [
            one.format(Identifier(table), Literal(rows), Literal(table)).as_string(cursor.cursor)
            for table, rows in manifest.rows.items()
        ]
    return "DO $check$ BEGIN\n" + "\n".join(lines) + "\nEND $check$;"


def forget_what_was() -> None:
    """Nothing that the cache or the broker holds of another time may be read by the restored site.

    What is made of rows counts only under the database's epoch, of which the restored one gets a new one; sessions,
    throttles and running answers have no such number, so all of the site's keys go.
    """
    try:
        for url in {settings.CACHE_URL, settings.STREAMS_URL}:
            remove_keys(url, f"{settings.CACHES['default']['KEY_PREFIX']}:*")
        current_app.control.purge()
    except Exception as error:  # whatever the drivers raise
        raise BackupError(
            f"The site is restored, but its cache and broker could not be emptied ({type(error).__name__}): empty "
            "them before it is started, or people may see what was before."
        ) from error
