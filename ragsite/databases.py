"""The database connection as Django wants it, from a URL."""

import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


NEED_A_SESSION = {"backup", "dbshell", "migrate", "partitions", "prepare", "restore", "seed", "shard"}
"""Commands that keep something in their session with the server (locks, settings) or have programs of PostgreSQL's do
so: a pooler would give it to others."""


def go_direct(command: str) -> None:
    """Have this process use ``DATABASE_DIRECT_URL``, where there is one and the command needs it."""
    if command in NEED_A_SESSION and os.environ.get("DATABASE_DIRECT_URL"):
        os.environ["DATABASE_URL"] = os.environ["DATABASE_DIRECT_URL"]


def database_from_url(url: str, pool_size: int) -> dict[str, Any]:
    """Django's connection settings for ``postgres://user:password@host:port/name?option=value``.

    A Unix socket's folder is given as ``?host=/folder``. With ``pool_size`` > 0 connections come from a pool of that
    many per process (django-db-connection-pool; Django's own pool refuses psycopg2), so that many threads share few.
    Raises ImproperlyConfigured when the URL is not one of PostgreSQL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"DATABASE_URL must start with postgres://, not {parts.scheme}://")
    try:
        port = str(parts.port or "")
    except ValueError as error:
        raise ImproperlyConfigured("DATABASE_URL has a port that is no number.") from error
    options = dict(parse_qsl(parts.query))
    host = options.pop("host", "") or parts.hostname or ""
    settings: dict[str, Any] = {
        "ENGINE": "ragsite.backends.plain",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": port,
        "OPTIONS": {"connect_timeout": 5, **options},
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    if pool_size:
        settings["ENGINE"] = "ragsite.backends.pooled"
        settings["POOL_OPTIONS"] = {
            "POOL_SIZE": pool_size,
            "MAX_OVERFLOW": pool_size // 2,
            "RECYCLE": 1800,
            "PRE_PING": True,
            "TIMEOUT": 10,
        }
    return settings
