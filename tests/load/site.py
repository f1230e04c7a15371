"""The real site, as `manage.py up` starts its web part: gunicorn with its processes and threads."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
from django.conf import settings
from django.db import connection

from ragsite.layout import PROJECT_DIR, Layout

START_SECONDS = 60


@dataclass
class Site:
    """A site on a free port; its log is a file."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        """The processes that answer requests."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]


def database_url() -> str:
    """The database of this test process."""
    configured = connection.settings_dict
    return (
        f"postgres://{configured['USER']}:{quote(configured['PASSWORD'])}@:5432/{configured['NAME']}"
        f"?host={quote(configured['HOST'])}"
    )


@contextlib.contextmanager
def running_site(layout: Layout, **environment: str) -> Iterator[Site]:
    """The web processes over this test's database and Valkey."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    port = listener.getsockname()[1]
    log = layout.run_dir / f"web-{port}.log"
    values = {
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "ragsite.settings",
        "RAGSITE_LISTEN_FD": str(listener.fileno()),
        "RAGSITE_DATABASE_POOL": "8",
        "RAGSITE_THROTTLE": "off",
        "RAGSITE_DEBUG": "true",  # static files straight from their folders
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:ragsite.gunicorn", "ragsite.wsgi"]
    with log.open("wb") as output, listener:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            env={**os.environ, **values, **environment},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
        )
    site = Site(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(site)
        yield site
    finally:
        process.send_signal(signal.SIGQUIT)  # at once; SIGTERM waits for kept connections
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(site: Site) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert site.process.poll() is None, site.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{site.url}/healthz", timeout=5).status_code == 200 and len(site.workers()) > 1:
                return
        time.sleep(0.1)
    raise AssertionError(site.log.read_text())
