"""Folders of the storage, which may be a disk or a service that knows only names."""

import contextlib
import shutil
from collections.abc import Iterator

from django.core.files.storage import Storage, default_storage


def remove_folder(folder: str) -> None:
    """Remove all files whose names begin with ``folder/``."""
    with contextlib.suppress(NotImplementedError):
        shutil.rmtree(default_storage.path(folder), ignore_errors=True)
        return
    for name in list(names_below(default_storage, folder)):
        default_storage.delete(name)


def names_below(storage: Storage, folder: str = "") -> Iterator[str]:
    """The names of all files in a folder and below; nothing where there is no such folder."""
    try:
        folders, files = storage.listdir(folder)
    except FileNotFoundError:
        return
    start = f"{folder}/" if folder else ""
    yield from (start + name for name in files)
    for name in folders:
        yield from names_below(storage, start + name)
