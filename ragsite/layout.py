"""Where the state of one instance lives: folders, sockets and generated secrets.

Knows nothing of Django, so that the supervisor, the encoder and the settings can all use it.
"""

import errno
import hashlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
SOCKET_PATH_LIMIT = 90
"""A Unix socket's path may have about 100 bytes; room is left for the names of the sockets."""


@dataclass(frozen=True)
class Layout:
    """The folders and secrets below one data folder (``RAGSITE_DATA_DIR``)."""

    data_dir: Path
    build_dir: Path | None = None
    """Where what can be made again stands (``RAGSITE_BUILD_DIR``), if not in the data folder: an image brings it."""

    @classmethod
    def from_environment(cls) -> "Layout":
        """The layout of ``RAGSITE_DATA_DIR``, by default ``var/`` beside manage.py."""
        data, built = os.environ.get("RAGSITE_DATA_DIR") or "var", os.environ.get("RAGSITE_BUILD_DIR")
        return cls((PROJECT_DIR / data).absolute(), (PROJECT_DIR / built).absolute() if built else None)

    def create(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises OSError when the disk is full or the place is not writable.
        """
        state = (self.files_dir, self.uploads_dir, self.models_dir, self.secrets_dir)
        for folder in (self.data_dir, self.run_dir, *state):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.run_dir.stat().st_uid != os.geteuid() and not self.run_dir.is_relative_to(self.data_dir):
            # in the temporary folder anybody could have made it first, to listen in our place
            raise PermissionError(errno.EPERM, "it belongs to another user", str(self.run_dir))
        _close_to_others(self.data_dir)

    @cached_property
    def run_dir(self) -> Path:
        """Sockets and state of what runs now; in the temporary folder when the path is too long for a socket."""
        inside = self.data_dir / "run"
        if len(os.fsencode(inside)) + len("/encoder.sock") <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ragsite-{os.getuid()}-{name}"

    @property
    def files_dir(self) -> Path:
        return self.data_dir / "files"

    @property
    def uploads_dir(self) -> Path:
        """Uploads on their way in, on the same file system as the files, so that storing one is a rename."""
        return self.data_dir / "uploads"

    @property
    def lifelines_dir(self) -> Path:
        """A locked file for each process whose work others may have to take over (``ragsite.lifeline``)."""
        return self.data_dir / "alive"

    @property
    def models_dir(self) -> Path:
        return (self.build_dir or self.data_dir) / "models"

    @property
    def static_dir(self) -> Path:
        return (self.build_dir or self.data_dir) / "static"

    @property
    def secrets_dir(self) -> Path:
        return self.data_dir / "secrets"

    @property
    def postgres_dir(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def valkey_dir(self) -> Path:
        return self.data_dir / "valkey"

    @property
    def postgres_socket_dir(self) -> Path:
        return self.run_dir

    @property
    def valkey_socket(self) -> Path:
        return self.run_dir / "valkey.sock"

    @property
    def encoder_socket(self) -> Path:
        return self.run_dir / "encoder.sock"

    @property
    def sandbox_socket(self) -> Path:
        return self.run_dir / "sandbox.sock"

    def secret(self, name: str) -> str:
        """The instance's secret of this name: made at the first call, kept in a file of mode 0600."""
        path = self.secrets_dir / name
        if not path.exists():
            self._create_secret(path)
        return path.read_text().strip()

    def _create_secret(self, path: Path) -> None:
        self.secrets_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, draft = tempfile.mkstemp(dir=self.secrets_dir)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # fails when another process was first: then its secret counts
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)

    @property
    def database_url(self) -> str:
        """The embedded PostgreSQL as a URL; the socket folder stands in the query part."""
        password = self.secret("postgres_password")
        return f"postgres://ragsite:{password}@:5432/ragsite?host={self.postgres_socket_dir}"

    @property
    def redis_url(self) -> str:
        """The embedded Valkey as a URL."""
        return f"unix://:{self.secret('valkey_password')}@{self.valkey_socket}?db=0"


def _close_to_others(folder: Path) -> None:
    """Mode 0700 for a folder that was there before, if it is ours. One with the sticky bit is meant for all: /tmp."""
    state = folder.stat()
    if state.st_uid == os.geteuid() and state.st_mode & 0o077 and not state.st_mode & stat.S_ISVTX:
        folder.chmod(0o700)
