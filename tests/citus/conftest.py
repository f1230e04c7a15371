"""The real cluster: two people on two nodes, a way to kill a node, and the site's tests skipped without one."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from django.db import connection

from ragsite.accounts.models import User
from ragsite.sharding.state import is_sharded

WHERE = """
SELECT n.nodename, n.nodeport, s.shardid FROM pg_dist_shard s
JOIN pg_dist_placement p USING (shardid) JOIN pg_dist_node n ON n.groupid = p.groupid
WHERE s.shardid = get_shard_id_for_distribution_column('documents_document', %s)
"""
NEEDS_CLUSTER = "needs a Citus: make test-citus CITUS_URL=postgresql://…"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Visibly skipped where there is no cluster."""
    if "CITUS_TEST_URL" not in os.environ:
        for item in items:
            if "tests/citus/" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=NEEDS_CLUSTER))


@dataclass(frozen=True)
class Place:
    """Where somebody's rows are."""

    host: str
    port: int
    shard: int


def place_of(owner: User) -> Place:
    with connection.cursor() as cursor:
        cursor.execute(WHERE, [owner.pk])
        return Place(*cursor.fetchone())


@pytest.fixture
def apart(transactional_db: None) -> tuple[User, User]:
    """Two people whose rows are on different workers."""
    assert is_sharded()
    first = User.objects.create_user("person-0", password="correct horse battery")
    for number in range(1, 40):
        other = User.objects.create_user(f"person-{number}", password="correct horse battery")
        if place_of(other).port != place_of(first).port:
            return first, other
    raise AssertionError("all shards are on one node")


@pytest.fixture
def cluster() -> Iterator[Callable[[str, int], None]]:
    """``cluster("kill", port)`` and ``cluster("up", port)``; all nodes are up again afterwards."""
    given = shlex.split(os.environ.get("CITUS_CLUSTER", ""))
    if len(given) != 2:
        pytest.skip('nodes cannot be killed: make test-citus … CLUSTER="/path/to/cluster DIR"')
    script, folder = given
    base = int(connection.settings_dict["PORT"])
    killed: set[int] = set()

    def act(what: str, port: int) -> None:
        (killed.add if what == "kill" else killed.discard)(port)
        command = ["bash", script, what, folder, str(port - base)]
        for _ in range(30):  # what a killed server leaves keeps a new one from starting for a moment
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                break
            time.sleep(1)
        if what == "up":
            answers_again(port)

    yield act
    for port in list(killed):
        act("up", port)


def answers_again(port: int) -> None:
    """Wait until the node takes connections."""
    parameters: dict[str, Any] = {**connection.get_connection_params(), "port": port}
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    for _ in range(200):
        try:
            psycopg2.connect(**parameters).close()
            return
        except psycopg2.OperationalError:
            time.sleep(0.1)
    raise AssertionError(f"the node at {port} does not come back")
