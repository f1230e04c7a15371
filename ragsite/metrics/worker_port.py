"""A worker's own /metrics and /healthz, where it shares no folder of counts with a web process: in a container."""

import logging
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ragsite.metrics.exposition import REFUSED, counted, may_read

logger = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"


class Quiet(WSGIRequestHandler):
    """Probes come every few seconds: they are no news. Who connects and says nothing is hung up on."""

    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection: one that is silent must not keep the probe of the worker's life waiting."""

    daemon_threads = True


def listen() -> WSGIServer | None:
    """Serve on ``RAGSITE_METRICS_PORT`` from a thread, if it is set. A worker whose port is taken works on."""
    if not settings.METRICS_PORT:
        return None
    try:
        server = make_server(settings.RAGSITE_HOST, settings.METRICS_PORT, application, Server, Quiet)
    except OSError as error:
        logger.warning("no metrics on port %s: %s", settings.METRICS_PORT, error.strerror)
        return None
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What this worker has counted; the gauges, which are the same everywhere, are told by the web processes."""
    if environ.get("PATH_INFO") == "/healthz":
        return _answer(start_response, "200 OK", b"ok\n", TEXT)
    if environ.get("PATH_INFO") != "/metrics":
        return _answer(start_response, "404 Not Found", b"", TEXT)
    if not may_read(WSGIRequest(environ)):
        return _answer(start_response, "403 Forbidden", REFUSED.encode(), TEXT)
    return _answer(start_response, "200 OK", generate_latest(counted()), CONTENT_TYPE_LATEST)


def _answer(start_response: Callable[..., Any], status: str, body: bytes, content_type: str) -> list[bytes]:
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
