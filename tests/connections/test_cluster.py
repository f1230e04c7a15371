"""The cache in a cluster: what one owner's values are made of lies together, and a lost node is no error."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.db import transaction

from ragsite.accounts.models import User
from ragsite.api.throttling import UserThrottle
from ragsite.caching import Dependency, Keyspace, changed, counters, epoch, get_many, get_or_compute, protocol
from ragsite.caching.registry import keyspaces
from ragsite.heartbeat import announce, worker_is_alive
from tests.connections.valkeys import Valkey, clustered

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
THING = Dependency("test-cluster-thing", ("owner",), "The tests.")
VALUES: Keyspace[Any] = Keyspace("test-cluster", {"owner": int}, "Of the tests.", timedelta(minutes=1), (THING,))
OWNERS = range(1, 31)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Valkey]]:
    with clustered(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(autouse=True)
def in_the_cluster(nodes: list[Valkey], settings: Any, _computed_anew: None) -> Iterator[None]:
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    options = {**settings.CACHES["default"]["OPTIONS"], "CONNECTION_FACTORY": "ragsite.redis_servers.SharedClients"}
    settings.CACHES_OFF = set()
    settings.CACHE_URL = url
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [url], "OPTIONS": options}}
    _forget()
    yield
    _forget()


def _forget() -> None:
    for cached in (protocol.redis, protocol._script):
        cached.cache_clear()
    protocol.circuit.reset()
    epoch.forget()
    with contextlib.suppress(AttributeError):
        del caches["default"]


def never() -> Callable[[], Any]:
    def compute() -> Any:
        raise AssertionError("it is not in the cache")

    return compute


def test_values_lie_on_every_node_and_a_change_of_several_owners_is_told_to_all(nodes):
    for owner in OWNERS:
        assert get_or_compute(VALUES, lambda owner=owner: f"of {owner}", owner=owner) == f"of {owner}"
    for owner in OWNERS:
        assert get_or_compute(VALUES, never(), owner=owner) == f"of {owner}"
    assert get_many(VALUES, [{"owner": owner} for owner in OWNERS]) == [f"of {owner}" for owner in OWNERS]
    with transaction.atomic():
        changed(*(THING(owner=owner) for owner in (1, 2, 3)))
    assert get_or_compute(VALUES, lambda: "new", owner=2) == "new"
    assert get_or_compute(VALUES, never(), owner=4) == "of 4"
    assert counters.memory()["test-cluster"].values >= len(OWNERS) - 2
    assert counters.statistics()["test-cluster"].hits > 0
    assert all(_keys_of(node) > 0 for node in nodes)


def _keys_of(node: Valkey) -> int:
    from redis import Redis

    with Redis(port=node.port) as client:
        return int(client.dbsize())


def test_every_kind_of_value_is_named_by_its_owner_first():
    """Else what one script names would lie on several nodes."""
    for space in keyspaces():
        for dependency in space.depends_on:
            assert next(iter(space.key)) == dependency.key[0] == "owner", space.name


def test_sessions_throttles_and_signs_of_life_work_there(owner: User, client):
    assert client.login(username="owner", password="correct horse battery")
    assert client.get("/library/").status_code == 200
    throttle = UserThrottle()
    assert throttle._take("someone", 1, 3600, True) == 0
    assert throttle._take("someone", 1, 3600, True) > 0
    announce(["documents", "maintenance"])
    assert worker_is_alive("documents", "maintenance")
    cache.delete_pattern("*")
    assert cache.get("anything") is None


def test_a_node_that_is_lost_is_no_error(nodes, owner, client):
    """The last test here: the node stays away."""
    nodes[-1].kill()
    for number in OWNERS:
        assert get_or_compute(VALUES, lambda number=number: number, owner=number) is not None
    with transaction.atomic():
        changed(*(THING(owner=number) for number in OWNERS))
    for number in OWNERS:
        assert get_or_compute(VALUES, lambda: "now", owner=number) == "now"
    assert client.login(username="owner", password="correct horse battery")
    assert client.get("/library/").status_code == 200
