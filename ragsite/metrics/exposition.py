"""/metrics: for this machine, or for who knows the token."""

import ipaddress
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ragsite.metrics.definitions import REGISTRY, folder
from ragsite.metrics.gauges import Gauges

REFUSED = (
    "Metrics are for this machine. Set RAGSITE_METRICS_TOKEN, and send it as Authorization: Bearer TOKEN to read them "
    "from elsewhere.\n"
)
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics of all processes that share ``PROMETHEUS_MULTIPROC_DIR``."""
    if not may_read(request):
        return HttpResponse(REFUSED, status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(exposed(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def may_read(request: HttpRequest) -> bool:
    """By the token where one is set; else who speaks to us from this machine, and for nobody else as a proxy does."""
    if token := settings.METRICS_TOKEN:
        return secrets.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
    if settings.RAGSITE_TRUSTED_PROXIES or any(name in request.META for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a Unix socket has no address, and a proxy in front of it
        return False


def exposed() -> bytes:
    """In Prometheus's text format."""
    return generate_latest(counted()) + generate_latest(_with_gauges())


def counted() -> CollectorRegistry:
    """What the processes have counted."""
    if not folder():
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


def _with_gauges() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Gauges())
    return registry
