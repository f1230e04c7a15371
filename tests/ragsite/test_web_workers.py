"""The web processes are forked from one that has imported what they share."""

import subprocess
import sys

import pytest

from ragsite.layout import PROJECT_DIR

READY = """
import gc, sys, threading
from ragsite import gunicorn, wsgi
gunicorn.when_ready(None)
print(threading.active_count(), gc.get_freeze_count() > 100_000, "chat.api" in sys.modules)
from django.db import connections
print(all(connection.connection is None for connection in connections.all(initialized_only=True)))
"""


@pytest.mark.slow
def test_what_they_share_is_whole_and_has_neither_threads_nor_connections() -> None:
    done = subprocess.run(
        [sys.executable, "-c", READY], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["1", "True", "True", "True"], done.stderr
