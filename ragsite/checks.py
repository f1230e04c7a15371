"""Settings that would hurt, found before the site starts: errors stop every command, warnings are printed."""

import difflib
import ipaddress
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from ragsite import redis_servers
from ragsite.api.throttling import parse_rate
from ragsite.language_models import LanguageModel

KNOWN_VARIABLES = {
    "RAGSITE_ALLOWED_HOSTS",
    "RAGSITE_ALLOW_HTTP",
    "RAGSITE_ANSWERS_AT_ONCE",
    "RAGSITE_ANSWER_CACHE",
    "RAGSITE_BUILD_DIR",
    "RAGSITE_CACHES_OFF",
    "RAGSITE_CACHE_PREFIX",
    "RAGSITE_DATABASE_POOL",
    "RAGSITE_DATA_DIR",
    "RAGSITE_DEBUG",
    "RAGSITE_DOTENV",
    "RAGSITE_DRAIN_SECONDS",
    "RAGSITE_FROM_EMAIL",
    "RAGSITE_GRACE_SECONDS",
    "RAGSITE_HOST",
    "RAGSITE_IMPORT_NETWORKS",
    "RAGSITE_IMPORT_PORTS",
    "RAGSITE_IMPORT_SECONDS",
    "RAGSITE_EMBEDDED_PARTS",
    "RAGSITE_LEASE_SECONDS",
    "RAGSITE_LOG_FORMAT",
    "RAGSITE_LOG_LEVEL",
    "RAGSITE_MAX_UPLOAD_MB",
    "RAGSITE_METRICS_PORT",
    "RAGSITE_METRICS_TOKEN",
    "RAGSITE_PORT",
    "RAGSITE_QUEUES",
    "RAGSITE_SECRET_KEY",
    "RAGSITE_SIGNUP",
    "RAGSITE_SILK",
    "RAGSITE_SILK_PERCENT",
    "RAGSITE_STORAGE_URL",
    "RAGSITE_STREAMS_PER_USER",
    "RAGSITE_TEST_DATA_DIR",
    "RAGSITE_THROTTLE",
    "RAGSITE_THROTTLE_ANONYMOUS",
    "RAGSITE_THROTTLE_FAILURES",
    "RAGSITE_THROTTLE_MESSAGES",
    "RAGSITE_THROTTLE_UPLOADS",
    "RAGSITE_THROTTLE_USER",
    "RAGSITE_TRACE_DAYS",
    "RAGSITE_TRUSTED_PROXIES",
    "RAGSITE_URL",
    "RAGSITE_WEB_THREADS",
    "RAGSITE_WEB_WORKERS",
    "RAGSITE_WORKERS",
    "RAGSITE_LEAST_WORKERS",
}
"""All that any module reads (a test compares this with the sources), but for what our processes hand on: ``…_FD``."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@register(Tags.security)
def check_exposure(**kwargs: Any) -> list[CheckMessage]:
    """What must not be reachable from outside as it is."""
    return list(_exposure())


def _exposure() -> Iterator[CheckMessage]:
    outside = settings.PRODUCTION or not is_loopback(settings.RAGSITE_HOST)
    if outside and settings.DEBUG:
        yield Error(
            "RAGSITE_DEBUG shows settings and source to everyone who can reach the site.",
            hint="Unset RAGSITE_DEBUG, or set RAGSITE_HOST=127.0.0.1 and no https RAGSITE_URL.",
            id="ragsite.E001",
        )
    if outside and "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "RAGSITE_ALLOWED_HOSTS is *: anyone could put another site's address into password reset mails.",
            hint="List the names that the site is reached by, or set RAGSITE_URL.",
            id="ragsite.E002",
        )
    if len(settings.SECRET_KEY) < 50 or len(set(settings.SECRET_KEY)) < 5:
        yield Error(
            "RAGSITE_SECRET_KEY is too short: it signs sessions.",
            hint="Unset it: a key is then made once and kept in the data folder.",
            id="ragsite.E003",
        )
    if outside and not settings.PRODUCTION and not settings.RAGSITE_ALLOW_HTTP:
        yield Error(
            f"RAGSITE_HOST={settings.RAGSITE_HOST} is reachable from outside, and passwords would travel unencrypted.",
            hint="Set RAGSITE_URL=https://… (behind a proxy with TLS), or RAGSITE_ALLOW_HTTP=on in a trusted network.",
            id="ragsite.E004",
        )


@register(Tags.security)
def check_addresses(**kwargs: Any) -> list[CheckMessage]:
    """Addresses that cannot be meant."""
    return list(_addresses())


def _addresses() -> Iterator[CheckMessage]:
    if not 0 < settings.RAGSITE_PORT < 65_536:
        yield Error(f"RAGSITE_PORT={settings.RAGSITE_PORT} is no port.", hint="1 to 65535", id="ragsite.E005")
    for name in ("RAGSITE_URL", "LLM_BASE_URL", "EMBEDDING_BASE_URL", "RERANK_BASE_URL"):
        value = getattr(settings, name)
        if value and not _is_http(value):
            yield Error(f"{name} is no address of a web server.", hint="https://name", id="ragsite.E006")
    if _is_http(settings.RAGSITE_URL) and urlsplit(settings.RAGSITE_URL).path.strip("/"):
        yield Error("RAGSITE_URL has a path; the site cannot live below one.", hint="https://name", id="ragsite.E007")
    if not settings.DATABASES["default"]["NAME"]:
        yield Error("DATABASE_URL names no database.", hint="postgres://user:password@host/name", id="ragsite.E008")
    for name in ("REDIS_URL", "CACHE_URL", "STREAMS_URL"):
        yield from _redis_address(name, getattr(settings, name))
    if not urlsplit(settings.CELERY_BROKER_URL).scheme:
        yield Error("BROKER_URL is no address.", hint="redis://host:6379/0", id="ragsite.E009")


def _redis_address(name: str, url: str) -> Iterator[CheckMessage]:
    scheme = urlsplit(url).scheme
    if scheme in redis_servers.CLUSTERS and name != "CACHE_URL":
        hint = "Name a server of its own, or Sentinels, for streams and broker."
        yield Error(f"{name} is a cluster: only the cache may be in one.", hint=hint, id="ragsite.E009")
    elif scheme not in redis_servers.SINGLE | redis_servers.WATCHED | redis_servers.CLUSTERS:
        text = f"{name} must start with redis://, rediss://, unix:// or redis+sentinel://."
        yield Error(text, hint="docs/connections.md", id="ragsite.E009")


def _is_http(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


@register(Tags.compatibility)
def check_models(**kwargs: Any) -> list[CheckMessage]:
    """Settings of the models that only make sense together."""
    return list(_models())


def _models() -> Iterator[CheckMessage]:
    if settings.LLM_BASE_URL and not settings.LLM_MODEL:
        yield Error("LLM_BASE_URL is set but not LLM_MODEL.", hint="Name the model to ask.", id="ragsite.E010")
    if (settings.LLM_MODEL or settings.LLM_API_KEY) and not settings.LLM_BASE_URL:
        yield Error(
            "LLM_MODEL or LLM_API_KEY is set but not LLM_BASE_URL.",
            hint="The server's address, as https://name/v1; unset all three for answers without a model.",
            id="ragsite.E011",
        )
    if settings.LLM_MAX_TOKENS <= 0 or 0 < settings.LLM_CONTEXT_TOKENS <= settings.LLM_MAX_TOKENS:
        yield Error("LLM_MAX_TOKENS must be smaller than LLM_CONTEXT_TOKENS, and positive.", id="ragsite.E012")
    for model in settings.LLM_MODELS:
        yield from _further_model(model)
    for name in ("LLM_TIMEOUT_SECONDS", "RAGSITE_MAX_UPLOAD_MB", "PROCESSING_LEASE_SECONDS"):
        if getattr(settings, name) <= 0:
            yield Error(f"{name} must be greater than 0.", id="ragsite.E013")


def _further_model(model: LanguageModel) -> Iterator[CheckMessage]:
    """One of LLM_MODELS, as strictly as the first."""
    own = f"LLM_{model.name.upper().replace('-', '_')}_"
    if not _is_http(model.base_url):
        hint = "The server's address, as https://name/v1; LLM_BASE_URL is taken where there is none."
        yield Error(f"{own}BASE_URL is no address of a web server.", hint=hint, id="ragsite.E006")
    if not model.model:
        yield Error(f"{own}MODEL is not set.", hint="Name the model to ask.", id="ragsite.E010")
    if model.max_tokens <= 0 or 0 < model.context_tokens <= model.max_tokens:
        yield Error(f"{own}MAX_TOKENS must be smaller than {own}CONTEXT_TOKENS, and positive.", id="ragsite.E012")


@register(Tags.compatibility)
def check_throttles(**kwargs: Any) -> list[CheckMessage]:
    """Rates that cannot be read."""
    wrong: list[CheckMessage] = []
    for scope, rate in settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"].items():
        try:
            parse_rate(rate)
        except ValueError:
            text = f"RAGSITE_THROTTLE_{scope.upper()}={rate} is no rate."
            wrong.append(Error(text, hint="60/min: a number, and s, min, h or d", id="ragsite.E014"))
    return wrong


@register(Tags.compatibility)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """RAGSITE_ variables that nothing reads: most likely typing errors."""
    unknown = sorted(name for name in os.environ if _is_ours(name) and name not in KNOWN_VARIABLES)
    return [Warning(f"{name} is not a setting.", hint=_nearest(name), id="ragsite.W001") for name in unknown]


def _is_ours(name: str) -> bool:
    return name.startswith("RAGSITE_") and not name.endswith("_FD")


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, KNOWN_VARIABLES, n=1)
    return f"Did you mean {near[0]}?" if near else "docs/settings.md lists them all."
