"""The Celery application: two kinds of worker, one for documents and one for what is short, which has the clock too."""

import os
import signal
from typing import Any

from celery import Celery
from celery.signals import task_prerun, worker_init, worker_process_init, worker_process_shutdown, worker_shutdown
from click import Option

from ragsite import origin
from ragsite.clock import Clock
from ragsite.embedded.kernel import die_with_parent
from ragsite.heartbeat import Heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
app = Celery("ragsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].update({Heartbeat, Clock})
app.user_options["worker"].add(Option(["--clock"], is_flag=True, help="Send the periodic tasks too (one worker only)."))


@worker_process_init.connect
def end_with_worker(**_: Any) -> None:
    """A killed worker takes its pool along: what they do is taken up again from the database."""
    die_with_parent(signal.SIGKILL, os.getppid())


@worker_init.connect
@worker_process_init.connect
def begin_measuring(**_: Any) -> None:
    """In the worker, and again in each process of a pool."""
    from ragsite.metrics import process

    process.begin()


@worker_init.connect
def keep_connections(**_: Any) -> None:
    """From task to task: see CELERY_DB_REUSE_MAX."""
    from ragsite.backends import kept

    kept.keep_connections()


@worker_init.connect
def tell_measurements(**_: Any) -> None:
    """Where no web process of the machine can do it: in a container of its own."""
    from ragsite.metrics import worker_port

    worker_port.listen()


@task_prerun.connect
def name_task(task_id: str, **_: Any) -> None:
    """Log lines say which task they are of."""
    origin.begin(f"task-{task_id}")


@worker_shutdown.connect
@worker_process_shutdown.connect
def end_measuring(**_: Any) -> None:
    from ragsite.metrics import process

    process.end()
