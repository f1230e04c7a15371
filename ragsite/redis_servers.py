"""Clients of the servers that speak Redis' protocol: one, one behind Sentinel, or (the cache alone) a cluster.

``redis://…``, ``rediss://…``, ``unix://…`` as redis-py reads them;
``redis+sentinel://user:password@host:26379,host:26379/SERVICE/DB?sentinel_password=…`` asks who is primary;
``redis+cluster://user:password@host:6379,host:6379`` is a cluster, of which any node tells the others. With
``rediss+…`` the data servers are spoken to by TLS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django_redis.exceptions import ConnectionInterrupted
from django_redis.pool import ConnectionFactory
from redis import Redis, RedisCluster
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError, RedisClusterException
from redis.sentinel import Sentinel

SINGLE = {"redis", "rediss", "unix"}
WATCHED = {"redis+sentinel", "rediss+sentinel"}
CLUSTERS = {"redis+cluster", "rediss+cluster"}
PORTS = {"sentinel": 26379, "cluster": 6379}


class Cluster(RedisCluster):
    """redis-py's, whose own kind of error would pass by everybody who is prepared for the server's being away."""

    def __init__(self, **options: Any) -> None:
        with _as_connection_errors():
            super().__init__(require_full_coverage=False, **options)

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _as_connection_errors():
            return super().execute_command(*args, **kwargs)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        made = super().pipeline(False)
        execute = made.execute

        def executed(raise_on_error: bool = True) -> Any:
            with _as_connection_errors():
                return execute(raise_on_error)

        made.execute = executed
        return made


@contextmanager
def _as_connection_errors() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise ConnectionError(str(error)) from error


@dataclass(frozen=True)
class Servers:
    """An address of several servers, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    access: dict[str, Any]
    """Name, password and TLS, as redis-py names them."""
    sentinel_access: dict[str, Any]


def is_cluster(url: str) -> bool:
    return urlsplit(url).scheme in CLUSTERS


def parsed(url: str) -> Servers:
    """Raises ValueError with what is wrong."""
    parts = urlsplit(url)
    secure, kind = parts.scheme.startswith("rediss"), parts.scheme.partition("+")[2]
    who, _, places = parts.netloc.rpartition("@")
    name, _, password = who.partition(":")
    access = {"username": unquote(name) or None, "password": unquote(password) or None, "ssl": secure}
    service, _, database = parts.path.strip("/").partition("/")
    if kind == "sentinel" and not service:
        raise ValueError("the service that the Sentinels watch is missing: redis+sentinel://host:26379/SERVICE/0")
    options = dict(parse_qsl(parts.query))
    sentinel_access = {"password": options["sentinel_password"]} if "sentinel_password" in options else {}
    hosts = tuple(_place(place, PORTS[kind]) for place in places.split(","))
    return Servers(hosts, service, int(database or 0), _given(access), sentinel_access)


def _place(text: str, port: int) -> tuple[str, int]:
    host, _, number = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    if not host:
        raise ValueError("a host is missing")
    return host.strip("[]"), int(number or port)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def connect(url: str, **options: Any) -> Redis:
    """A client; ``options`` as redis-py has them. It connects with its first command. Raises ValueError."""
    scheme = urlsplit(url).scheme
    if scheme in SINGLE:
        return Redis.from_url(url, **options)
    servers = parsed(url)
    if scheme in CLUSTERS:
        nodes = [ClusterNode(host, port) for host, port in servers.hosts]
        return Cluster(startup_nodes=nodes, **servers.access, **options)  # type: ignore[return-value]
    sockets = {name: value for name, value in options.items() if name.startswith("socket_")}
    sentinels = Sentinel(servers.hosts, sentinel_kwargs={**sockets, **servers.sentinel_access})
    return sentinels.master_for(servers.service, db=servers.database, **servers.access, **options)


@cache
def _shared(url: str, options: tuple[tuple[str, Any], ...]) -> Redis:
    return connect(url, **dict(options))


class SharedClients(ConnectionFactory):
    """How django-redis comes to a client where the address is not one server's."""

    def connect(self, url: str) -> Redis:
        names = ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT")
        try:
            return _shared(url, tuple((name.lower(), self.options[name]) for name in names if name in self.options))
        except ConnectionError as error:  # a cluster is asked for its nodes at once
            raise ConnectionInterrupted(connection=None) from error

    def disconnect(self, connection: Redis) -> None:
        """It is everybody's."""


def cache_options(url: str) -> dict[str, str]:
    """What django-redis needs besides, for this address."""
    if urlsplit(url).scheme in SINGLE:
        return {}
    return {"CONNECTION_FACTORY": "ragsite.redis_servers.SharedClients"}


def cache_location(url: str) -> str | list[str]:
    """As a list where it has commas, at which django-redis would cut it."""
    return url if urlsplit(url).scheme in SINGLE else [url]


def broker(url: str) -> tuple[str, dict[str, Any]]:
    """An address as Celery reads it, and the transport's options that belong to it."""
    if url.startswith("unix://"):
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host="), {}
    if urlsplit(url).scheme not in WATCHED:
        return url, {}
    servers, before = parsed(url), urlsplit(url).netloc.rpartition("@")[0]
    who = f"{before}@" if before else ""
    each = [f"sentinel://{who}{host}:{port}/{servers.database}" for host, port in servers.hosts]
    options: dict[str, Any] = {"master_name": servers.service, "sentinel_kwargs": servers.sentinel_access}
    return ";".join(each), options


def remove_keys(url: str, pattern: str) -> None:
    """Remove what is named so. Raises RedisError."""
    with connect(url, socket_timeout=10, socket_connect_timeout=5) as client:
        names: list[Any] = []
        for name in client.scan_iter(match=pattern, count=1000):
            names.append(name)
            if len(names) == 1000:
                client.delete(*names)
                names.clear()
        if names:
            client.delete(*names)
