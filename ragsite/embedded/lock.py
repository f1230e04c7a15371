"""Who runs the servers of a data folder: one process at a time, known to all others."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ragsite.embedded.errors import CannotStart
from ragsite.layout import Layout


@dataclass(frozen=True)
class Holder:
    """The process that runs the servers; ``address`` is empty unless it serves the site."""

    pid: int
    command: str
    address: str = ""

    @property
    def serves(self) -> bool:
        """Whether it is `manage.py up`."""
        return bool(self.address)


class InstanceLock:
    """A lock file. The kernel frees it when its holder dies, however it dies."""

    def __init__(self, layout: Layout, name: str = "up") -> None:
        self.path = layout.run_dir / f"{name}.lock"
        self._descriptor: int | None = None

    def acquire(self, command: str, address: str = "") -> bool:
        """Take the lock and write down who has it; False when another process does."""
        descriptor = _open(self.path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(asdict(Holder(os.getpid(), command, address))).encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """The file stays: removing it could take it from under one who waits for it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> Holder:
        """Who wrote into the lock file last; in the instant between lock and note, or when unreadable, nobody known."""
        try:
            return Holder(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return Holder(0, "another command")


@contextmanager
def counted_as_user(layout: Layout, name: str = "up") -> Iterator[None]:
    """While it lasts, a command that started the servers does not stop them at its end."""
    descriptor = _open(layout.run_dir / f"{name}.users")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def wait_for_users(layout: Layout, name: str = "up") -> None:
    """Return when no process is counted as a user any more."""
    descriptor = _open(layout.run_dir / f"{name}.users")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise CannotStart(
            f"{path} cannot be opened: {error.strerror}. The data folder belongs to another user: start ragsite as "
            "that user, or set RAGSITE_DATA_DIR to a folder of your own."
        ) from error
