"""``/healthz``: the process lives. ``/readyz``: what it needs answers.

Each part is asked on a connection of its own, in one of a few threads, and given up after a deadline: a part that hangs
neither hangs the answer nor uses up the site's connections.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineExceeded
from functools import cache, partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import psycopg2
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ragsite import routes, stopping
from ragsite.heartbeat import alive_key, quick_redis
from ragsite.replicas.fleet import LAG

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 3.0
MOST_LAG_SECONDS = 60
REQUIRED = {"database", "cache", "migrations"}
"""Without these the site is not ready; without another part it is degraded."""
NOT_APPLIED = "not applied"

Probe = Callable[[], Any]
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="readyz")


class NotWell(Exception):
    """A part is not well; the text says why and is shown to anyone."""


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process lives; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """``{status: ok | degraded | unavailable, parts: {name: {ok, seconds, detail?}}}``; 503 when unavailable.

    ``stopping``, with 503 too, while it still serves and waits for balancers to send it nobody any more. With
    ``?balancer`` what is away for all nodes alike leaves this one at 200: only missing migrations make it 503 too.
    """
    if stopping.has_begun():
        return JsonResponse({"status": "stopping", "parts": {}}, status=503)
    parts = ask(probes())
    ill = {name for name, part in parts.items() if not part["ok"]}
    status = "unavailable" if ill & REQUIRED else "degraded" if ill else "ok"
    refused = is_behind(parts["migrations"]) if "balancer" in request.GET else status == "unavailable"
    return JsonResponse({"status": status, "parts": parts}, status=503 if refused else 200)


def is_behind(migrations: dict[str, Any]) -> bool:
    """Whether migrations are missing, and not just the database that would tell."""
    return NOT_APPLIED in migrations.get("detail", "")


class HealthMiddleware:
    """Answers both before any other middleware: probes come by address, not by a name of ALLOWED_HOSTS, and by HTTP."""

    answers: ClassVar[dict[str, Callable[[HttpRequest], HttpResponse]]] = {"/healthz": healthz, "/readyz": readyz}

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.answers.get(request.path_info, self.get_response)(request)


def probes() -> dict[str, Probe]:
    """What to ask; built here, because the threads must not touch Django's own connections."""
    database = partial(query, _connection_parameters())
    return {
        "database": partial(database, "SELECT 1"),
        "migrations": partial(check_migrations, database),
        "cache": check_cache,
        "worker": partial(check_workers, settings.DOCUMENT_QUEUES),
        "upkeep": partial(check_workers, [routes.MAINTENANCE]),
        "encoder": check_encoder,
        **{alias: partial(check_replica, _connection_parameters(alias)) for alias in settings.REPLICAS},
    }


def ask(asked: dict[str, Probe]) -> dict[str, dict[str, Any]]:
    """Ask all at once and wait for all until the same deadline."""
    started = time.monotonic()
    running = {name: _threads.submit(_timed, probe) for name, probe in asked.items()}
    return {name: _result(name, future, started) for name, future in running.items()}


def _timed(probe: Probe) -> float:
    started = time.monotonic()
    probe()
    return time.monotonic() - started


def _result(name: str, future: "Future[float]", started: float) -> dict[str, Any]:
    try:
        seconds = future.result(timeout=max(0.0, started + DEADLINE_SECONDS - time.monotonic()))
        return {"ok": True, "seconds": round(seconds, 4)}
    except DeadlineExceeded:
        future.cancel()
        detail = "does not answer"
    except NotWell as error:
        detail = str(error)
    except Exception as error:  # the log may know the cause, which can hold addresses and names, the world may not
        logger.warning("readyz: %s: %s", name, error)
        detail = f"cannot be reached ({type(error).__name__})"
    return {"ok": False, "detail": detail, "seconds": round(time.monotonic() - started, 4)}


def _connection_parameters(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    return {**connections[alias].get_connection_params(), "connect_timeout": 2}


def query(parameters: dict[str, Any], sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement, on a new connection."""
    database = psycopg2.connect(**parameters)
    try:
        with database.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 2000")  # not as an option of the connection: PgBouncer
            cursor.execute(sql)
            return list(cursor.fetchall())
    finally:
        database.close()


def check_migrations(run: Callable[[str], list[tuple[Any, ...]]]) -> None:
    try:
        applied = set(run("SELECT app, name FROM django_migrations"))
    except psycopg2.errors.UndefinedTable:
        applied = set()
    if missing := newest_migrations() - applied:
        raise NotWell(f"{len(missing)} apps have migrations that are {NOT_APPLIED}")


@cache
def newest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app, as the code has them."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def check_cache() -> None:
    with quick_redis() as redis:
        redis.ping()


def check_workers(queues: Sequence[str]) -> None:
    """That each queue has a worker; those of another queue may take its work too."""
    with quick_redis() as redis:
        without = [queue for queue in queues if not redis.exists(*map(alive_key, routes.serving(queue)))]
    if len(without) == len(queues):
        raise NotWell("no worker has reported in the last 30 seconds")
    if without:
        raise NotWell(f"no worker of {', '.join(without)} has reported in the last 30 seconds")


def check_replica(parameters: dict[str, Any]) -> None:
    """Without one the site reads from the primary."""
    ((is_replica, lag),) = query(parameters, f"SELECT pg_is_in_recovery(), {LAG}")
    if not is_replica:
        raise NotWell("it takes writes: it is not a replica any more")
    if lag > MOST_LAG_SECONDS:
        raise NotWell(f"it is {lag:.0f} seconds behind")


def check_encoder() -> None:
    """That something listens where embeddings come from."""
    _dial_encoder().close()


def _dial_encoder() -> socket.socket:
    if not settings.EMBEDDING_BASE_URL:
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(1)
        end.connect(str(settings.LAYOUT.encoder_socket))
        return end
    url = urlsplit(settings.EMBEDDING_BASE_URL)
    port = url.port or (443 if url.scheme == "https" else 80)
    return socket.create_connection((url.hostname or "", port), timeout=1)
