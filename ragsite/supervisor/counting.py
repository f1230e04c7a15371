"""Where the processes count for Prometheus."""

import os
import shutil

from ragsite.layout import Layout

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is imported: our processes inherit it."""


def make_room_for_counts(layout: Layout) -> None:
    """An empty folder: what earlier processes have counted is over, as Prometheus expects of a restart."""
    shutil.rmtree(layout.metrics_dir, ignore_errors=True)
    layout.metrics_dir.mkdir(mode=0o700, parents=True)
    os.environ[VARIABLE] = str(layout.metrics_dir)
