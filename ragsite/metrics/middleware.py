"""Around every request: its id, its time, its trace; and /metrics."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import empty

from ragsite import origin, tracing
from ragsite.metrics import record
from ragsite.metrics.exposition import metrics

access = logging.getLogger("ragsite.access")

ID_HEADER = "X-Request-ID"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MonitoringMiddleware:
    """Comes first, so that it sees what all others do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/metrics":
            return metrics(request)
        started = time.perf_counter()
        came = origin.begin(request.headers.get(ID_HEADER, ""))
        response = self._answered(request)
        seconds = time.perf_counter() - started
        response.headers[ID_HEADER] = came.id
        _record(request, response.status_code, seconds)
        return response

    def _answered(self, request: HttpRequest) -> HttpResponseBase:
        if not tracing.is_on():
            return self.get_response(request)
        parent = request.headers.get("traceparent", "") if settings.RAGSITE_TRUSTED_PROXIES else ""
        with tracing.continued(parent, f"{request.method} {request.path_info}"):
            response = self.get_response(request)
            tracing.annotate(
                f"{request.method} {view_of(request)}", **{"http.response.status_code": response.status_code}
            )
            return response


def _record(request: HttpRequest, status: int, seconds: float) -> None:
    view = view_of(request)
    method = request.method if request.method in METHODS else "other"
    record.request(view, str(method), status, seconds)
    user_id = known_user(request)
    if user_id is not None:
        record.user_seen(user_id)
    if settings.LOG_FORMAT == "json" and view not in record.NOT_FOR_PEOPLE:
        access.info(
            "%s %s %s", method, view, status,
            extra={"method": method, "view": view, "status": status, "seconds": round(seconds, 4), "user": user_id},
        )  # fmt: skip


def view_of(request: HttpRequest) -> str:
    """The name of what answered: as many as there are views, whatever is asked for."""
    match = request.resolver_match
    if match is not None:
        return match.view_name or match.route
    path = request.path_info
    if path in ("/healthz", "/readyz"):
        return path[1:]
    return "static" if path.startswith(settings.STATIC_URL) else "none"


def known_user(request: HttpRequest) -> int | None:
    """Who asks, where that is known already: to find out would cost a query."""
    user: Any = request.__dict__.get("user")
    if user is None or user.__dict__.get("_wrapped", user) is empty or not user.is_authenticated:
        return None
    return int(user.pk)
