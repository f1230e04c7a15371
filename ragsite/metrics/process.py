"""The beginning and end of measuring in a process that serves: a web process or a worker, not a command."""

from ragsite import tracing
from ragsite.metrics.definitions import open_files
from ragsite.metrics.queries import watch_connections
from ragsite.service_level.recorder import recorder
from ragsite.stopping import before_stop


def begin() -> None:
    """Called after the last fork."""
    open_files()
    recorder.start()
    tracing.start()
    watch_connections()
    before_stop(end)


def end() -> None:
    """What was measured since the last time is written down."""
    recorder.flush()
