"""The database connection as Django wants it, from a URL."""

import os
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

GONE = {"keepalives_idle": "2", "keepalives_interval": "1", "keepalives_count": "3", "tcp_user_timeout": "5000"}
"""libpq's settings that end a connection to a machine that has vanished within some seconds, not some minutes."""


NEED_A_SESSION = {"backup", "dbshell", "migrate", "partitions", "prepare", "restore", "seed", "shard"}
"""Commands that keep something in their session with the server (locks, settings) or have programs of PostgreSQL's do
so: a pooler would give it to others."""


def go_direct(command: str) -> None:
    """Have this process use ``DATABASE_DIRECT_URL``, where there is one and the command needs it."""
    if command in NEED_A_SESSION and os.environ.get("DATABASE_DIRECT_URL"):
        os.environ["DATABASE_URL"] = os.environ["DATABASE_DIRECT_URL"]


def database_from_url(url: str, pool_size: int) -> dict[str, Any]:
    """Django's connection settings for ``postgres://user:password@host:port/name?option=value``.

    Several servers of which one takes writes are ``postgres://…@one:5432,other:5432/name?target_session_attrs=read-write``.
    A Unix socket's folder is given as ``?host=/folder``. With ``pool_size`` > 0 connections come from a pool of that
    many per process (django-db-connection-pool; Django's own pool refuses psycopg2), so that many threads share few.
    Raises ImproperlyConfigured when the URL is not one of PostgreSQL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"DATABASE_URL must start with postgres://, not {parts.scheme}://")
    hosts, ports = _servers(parts.netloc.rpartition("@")[2])
    options = dict(parse_qsl(parts.query))
    host, port = options.pop("host", "") or hosts, options.pop("port", "") or ports
    several = GONE if "," in host else {}
    settings: dict[str, Any] = {
        "ENGINE": "ragsite.backends.plain",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": port,
        "OPTIONS": {"connect_timeout": 5, **several, **options},
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    if pool_size:
        settings["ENGINE"] = "ragsite.backends.pooled"
        settings["POOL_OPTIONS"] = {
            # Those of a peak are kept too: with new ones at each tenth answer, which plan all anew, one took 2 ms more.
            "POOL_SIZE": pool_size + pool_size // 4,
            "MAX_OVERFLOW": 0,
            "RECYCLE": 1800,
            "PRE_PING": True,
            "TIMEOUT": 10,
        }
    return settings


def _servers(netloc: str) -> tuple[str, str]:
    """Hosts and ports, each with commas between, as libpq takes them."""
    servers = [urlsplit(f"//{server}") for server in netloc.split(",")]
    try:
        ports = [str(server.port or "") for server in servers]
    except ValueError as error:
        raise ImproperlyConfigured("DATABASE_URL has a port that is no number.") from error
    return ",".join(server.hostname or "" for server in servers), ",".join(ports)


def replicas_from_urls(urls: str, primary: dict[str, Any], pool_size: int) -> dict[str, dict[str, Any]]:
    """The databases ``replica-1``, ``replica-2``… of URLs with spaces or commas between.

    User, password, name and options of the primary are those of a replica whose URL does not say others. A replica is
    given up sooner: there is always the primary.
    """
    found = re.split(r"[\s,]+(?=postgres(?:ql)?://)", urls.strip()) if urls.strip() else []
    return {f"replica-{number}": _replica(url, primary, pool_size) for number, url in enumerate(found, 1)}


def _replica(url: str, primary: dict[str, Any], pool_size: int) -> dict[str, Any]:
    settings = database_from_url(url, pool_size)
    for name in ("NAME", "USER", "PASSWORD"):
        settings[name] = settings[name] or primary[name]
    of_primary = {name: value for name, value in primary["OPTIONS"].items() if name != "target_session_attrs"}
    settings["OPTIONS"] = {**of_primary, **GONE, **settings["OPTIONS"], "connect_timeout": 2}
    settings["TEST"] = {"MIRROR": "default"}
    if pool_size:
        settings["POOL_OPTIONS"] |= {"TIMEOUT": 1}
    return settings
