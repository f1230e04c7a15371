"""What a backup looks like on the disk: a folder that is there whole or not at all.

``manifest.json`` (written last), ``database.dump``, ``files.jsonl`` (name, size and SHA-256 of each file), ``files/``
and ``secrets/``.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

FORMAT = 1
BLOCK = 1 << 20
MANIFEST, DATABASE, FILES_LIST, FILES, SECRETS = "manifest.json", "database.dump", "files.jsonl", "files", "secrets"
PARTS = {MANIFEST, DATABASE, FILES_LIST, FILES, SECRETS}


class BackupError(Exception):
    """For people: what is wrong, and that nothing was changed."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the storage, in a backup."""

    name: str
    size: int
    sha256: str


def line(stored: StoredFile) -> bytes:
    """As ``files.jsonl`` has it."""
    return json.dumps(asdict(stored), ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class Manifest:
    """What is in a backup, and of what."""

    made_at: str
    revision: str
    """The commit of the code, where it is known."""
    postgres: int
    """Major version of the server."""
    migrations: list[str]
    """``app.name`` of each that was applied."""
    rows: dict[str, int]
    """By table."""
    files: int
    bytes: int
    missing: list[str]
    """Files that rows name and the storage did not have."""
    left_out: list[str]
    """Tables of which no row is kept."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of the parts beside this one."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        parts = [path for path in folder.rglob("*") if path.is_file() and FILES not in path.relative_to(folder).parts]
        sums = {str(path.relative_to(folder)): digest(path) for path in sorted(parts)}
        text = json.dumps(asdict(self) | {"sha256": sums}, indent=1, ensure_ascii=False)
        with written(folder / MANIFEST) as file:
            file.write(text.encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError for what is no backup, or one of a later release."""
    try:
        values: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        if values["format"] > FORMAT:
            raise BackupError(f"{folder} was made by a later release of ragsite: restore it with that one.")
        return Manifest(**values)
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}") from error


def verify(folder: Path, manifest: Manifest) -> list[StoredFile]:
    """Read all of a backup once. Returns its files; raises BackupError for what is missing or was changed."""
    for name, expected in manifest.sha256.items():
        _check(folder / name, expected)
    files = listed_files(folder)
    for stored in files:
        _check(folder / FILES / stored.name, stored.sha256)
    if len(files) != manifest.files:
        raise BackupError(f"{folder / FILES_LIST} names {len(files)} files, the manifest {manifest.files}.")
    return files


def _check(path: Path, expected: str) -> None:
    try:
        found = digest(path)
    except OSError as error:
        raise BackupError(f"The backup is damaged: {path} cannot be read ({error.strerror}).") from error
    if found != expected:
        raise BackupError(f"The backup is damaged: {path} is not what was written.")


def listed_files(folder: Path) -> list[StoredFile]:
    """Raises BackupError for a name that leads out of the folder."""
    with (folder / FILES_LIST).open() as lines:
        files = [StoredFile(**json.loads(line)) for line in lines]
    for stored in files:
        if stored.name.startswith("/") or ".." in stored.name.split("/"):
            raise BackupError(f"The backup names a file outside of it: {stored.name}")
    return files


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copied(source: IO[bytes], target: Path) -> tuple[int, str]:
    """Copy a file and say how large it is, and its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    total, sha256 = 0, hashlib.sha256()
    with written(target) as file:
        while block := source.read(BLOCK):
            file.write(block)
            sha256.update(block)
            total += len(block)
    return total, sha256.hexdigest()


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600 that is on the disk when the block has ended."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
