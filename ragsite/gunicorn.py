"""gunicorn's configuration: threads, because an answer's stream waits far more than it computes.

Figures and alternatives: docs/decisions (web workers). `manage.py up` hands over a listening socket, so that people
wait a moment instead of being refused while the web processes are restarted.
"""

import gc
import os
import signal
from typing import Any

from ragsite.embedded.kernel import die_with_parent
from ragsite.stopping import drain_seconds, grace_seconds

_descriptor = os.environ.get("RAGSITE_LISTEN_FD")
_address = f"{os.environ.get('RAGSITE_HOST') or '127.0.0.1'}:{os.environ.get('RAGSITE_PORT') or 8000}"

bind = f"fd://{_descriptor}" if _descriptor else _address
worker_class = "gthread"
workers = int(os.environ.get("RAGSITE_WEB_WORKERS") or 2)
threads = int(os.environ.get("RAGSITE_WEB_THREADS") or 256)
worker_connections = threads + 64  # near the threads: a full process leaves what comes then to the others
preload_app = True  # imported once, shared by the workers' memory
graceful_timeout = int(drain_seconds() + grace_seconds()) + 5  # ragsite.stopping; 5 to put away what is left
timeout = 120  # of the worker's main thread; a request's thread may take longer
keepalive = 75  # longer than proxies keep an idle connection (60): a request never meets one that is being closed
control_socket_disable = True  # it would be made in the home folder
loglevel = "warning"


OBJECTS_BETWEEN_COLLECTIONS = 5000
"""Instead of 700: with a hundred answers at work most of what a collection looks at is still in use."""


def when_ready(server: Any) -> None:
    """The last moment before the first fork: what is here by now is shared, and no collection looks at it again.

    A collection writes to each object that it looks at, which copies the page, and took a tenth of the processes' time.
    """
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018  (imports all views)
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """A killed master takes its workers along."""
    die_with_parent(signal.SIGKILL, worker.ppid)
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])


def post_worker_init(worker: Any) -> None:
    """On SIGTERM running answers are finished or stored as far as they have come, then what was measured of them.

    What broken uploads leave on a web machine is removed by its own processes.
    """
    from ragsite.api.uploads import remove_left_each_hour
    from ragsite.metrics import process
    from ragsite.stopping import heed_sigterm

    process.begin()
    remove_left_each_hour()
    heed_sigterm()
    if report := os.environ.get("RAGSITE_REPORT_FD"):
        os.write(int(report), b"\n")  # ready: ragsite.supervisor.renewal
