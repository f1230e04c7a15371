"""Whether a process of this machine still lives, known at once when it does not.

Each process that asks for it gets a file with a lock on it, which the kernel takes away when the process ends, however
that happens. Whoever does work that others may have to take over writes down ``mine()`` beside it.
"""

import errno
import fcntl
import logging
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)
_mine: dict[int, str] = {}
_lock = threading.Lock()


def mine() -> str:
    """The mark of this process: the machine's data folder and a name in it. A fork gets one of its own.

    Empty where none can be had: then others wait as long as they would for a process elsewhere.
    """
    with _lock:
        if os.getpid() not in _mine:
            try:
                _mine[os.getpid()] = _begin(settings.LAYOUT.lifelines_dir)
            except OSError as error:
                logger.warning("no lifeline: %s", error)
                return ""
        return _mine[os.getpid()]


def has_ended(mark: str) -> bool:
    """Whether the process with this mark is known to be gone. Of other machines nothing is known."""
    folder = settings.LAYOUT.lifelines_dir
    name = mark.partition(":")[2]
    if not name or mark == _mine.get(os.getpid()) or not is_of_here(mark):
        return False  # to look at one's own file would end the lock on it
    return _is_free(folder / name)


def is_of_here(mark: str) -> bool:
    """Whether ``has_ended`` can tell of this process."""
    return mark.partition(":")[0] == _place(settings.LAYOUT.lifelines_dir)


def _begin(folder: Path) -> str:
    """Lock a new file, which stays open as long as this process lives. It gets its name when it is locked: others must
    never see it free."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_ended(folder)
    descriptor, draft = tempfile.mkstemp(dir=folder, prefix=".")
    fcntl.lockf(descriptor, fcntl.LOCK_EX)  # not flock: a child would hold it on, and outlive this process
    name = uuid.uuid4().hex
    os.rename(draft, folder / name)
    return f"{_place(folder)}:{name}"


def _place(folder: Path) -> str:
    """Tells this machine's folder from those of others that use the same database."""
    try:
        state = folder.stat()
    except FileNotFoundError:
        return ""
    return f"{os.uname().nodename}-{state.st_dev}-{state.st_ino}"


def _remove_ended(folder: Path) -> None:
    """Those with a name: a draft may be one that is locked in the next moment."""
    for path in folder.glob("[!.]*"):
        if _is_free(path):
            path.unlink(missing_ok=True)


def _is_free(path: Path) -> bool:
    with _opened(path) as descriptor:
        if descriptor is None:
            return True
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
