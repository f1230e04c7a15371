"""What is found out before anything is started."""

import errno
import socket

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.lock import Holder
from ragsite.embedded.machine import free_megabytes
from ragsite.layout import Layout

LEAST_FREE_MEGABYTES = 200
"""A new database takes 40, its first logs 80, the model 80."""


def make_folders(layout: Layout) -> None:
    """Raises CannotStart when the data folder cannot be made or has no space left."""
    try:
        layout.create()
    except OSError as error:
        raise CannotStart(
            f"The data folder {layout.data_dir} cannot be used: {error.strerror} ({error.filename}). "
            "Make room or permission there, or set RAGSITE_DATA_DIR to another folder."
        ) from error
    check_disk_space(layout)


def check_disk_space(layout: Layout) -> None:
    free = free_megabytes(layout.data_dir)
    if free < LEAST_FREE_MEGABYTES:
        raise CannotStart(
            f"There is no disk space: {free} MB are free at {layout.data_dir}, {LEAST_FREE_MEGABYTES} MB are needed. "
            "Make room, or set RAGSITE_DATA_DIR to a folder on another disk."
        )


def already_running(layout: Layout, holder: Holder) -> CannotStart:
    """What to say to a second start on the same data folder."""
    if holder.serves:
        return CannotStart(f"ragsite is already running at {holder.address} (process {holder.pid}).")
    return CannotStart(
        f"`{holder.command}` (process {holder.pid}) is using {layout.data_dir}. Start ragsite when it has finished."
    )


def listen(host: str, port: int) -> socket.socket:
    """The socket that the web processes will accept from. Raises CannotStart when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotStart(_bind_failure(host, port, error)) from error
    listener.listen(2048)
    return listener


def _bind_failure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use on {host}. Choose another one: RAGSITE_PORT={port + 1} make run"
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than you have. Choose one from 1024 up: RAGSITE_PORT=8000 make run"
    return f"{host}:{port} cannot be listened on: {error.strerror}. Set RAGSITE_HOST and RAGSITE_PORT."
