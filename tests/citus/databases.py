"""Databases on all nodes of a Citus cluster, made and dropped as tests need them.

A Citus database is one database of the same name on each node, with the extension in it, and the coordinator's list of
the workers. `CITUS_URL` names one that exists (the cluster's own): from it the nodes are known.
"""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2.extensions import connection as Connection

NODES = "SELECT nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND isactive ORDER BY groupid"


def create(citus_url: str, name: str, shards: int = 8) -> str:
    """An empty database ``name`` with Citus and pgvector on every node; returns its URL."""
    nodes = nodes_of(citus_url)
    for host, port in nodes:
        with connected(_at(citus_url, host, port)) as node, node.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
            cursor.execute(f'ALTER DATABASE "{name}" SET citus.shard_count = {shards}')
        with connected(_at(citus_url, host, port, name)) as node, node.cursor() as cursor:
            cursor.execute("CREATE EXTENSION citus; CREATE EXTENSION vector")
    made = _at(citus_url, *nodes[0], name)
    with connected(made) as coordinator, coordinator.cursor() as cursor:
        cursor.execute("SELECT citus_set_coordinator_host(%s, %s)", nodes[0])
        for worker in nodes[1:]:
            cursor.execute("SELECT citus_add_node(%s, %s)", worker)
    return made


def drop(citus_url: str, name: str) -> None:
    """Gone from every node, whoever is connected."""
    for host, port in nodes_of(citus_url):
        with connected(_at(citus_url, host, port)) as node, node.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def nodes_of(citus_url: str) -> list[tuple[str, int]]:
    """Host and port of each, the coordinator first."""
    with connected(citus_url) as coordinator, coordinator.cursor() as cursor:
        cursor.execute(NODES)
        return list(cursor.fetchall())


@contextlib.contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection where each statement is a transaction."""
    made = psycopg2.connect(url)
    made.autocommit = True
    try:
        yield made
    finally:
        made.close()


def _at(url: str, host: str, port: int, name: str = "") -> str:
    """The same user, at this node, in this database."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@{host}:{port}" if user else f"{host}:{port}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{name}" if name else parts.path))
