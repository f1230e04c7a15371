"""Where the processes count for Prometheus."""

import hashlib
import os
import shutil
from pathlib import Path

from ragsite.layout import Layout

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is imported: our processes inherit it."""
MEMORY = Path("/dev/shm")  # noqa: S108  (the folder in it is made anew, for its owner alone)


def make_room_for_counts(layout: Layout, part: str = "") -> Path | None:
    """An empty folder: what earlier processes have counted is over, as Prometheus expects of a restart.

    ``part`` names it where a machine runs some processes of a site and others beside them.

    In memory where there is such a place: the files are written through mmap, and on a full disk that would kill the
    process which counts (SIGBUS). None where no folder can be had: each process counts for itself then.
    """
    name = hashlib.sha256(os.fsencode(layout.data_dir)).hexdigest()[:16] + (part and f"-{part}")
    for folder in (MEMORY / f"ragsite-{os.getuid()}-{name}", layout.run_dir / f"metrics{part and f'-{part}'}"):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            continue
        os.environ[VARIABLE] = str(folder)
        return folder
    os.environ.pop(VARIABLE, None)
    return None


def forget_counts(folder: Path | None) -> None:
    """At the end: the memory is given back."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
