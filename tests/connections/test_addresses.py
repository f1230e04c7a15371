"""Addresses of servers: what is understood, and what is refused."""

import pytest
from django.core.checks import run_checks

from ragsite import redis_servers
from ragsite.redis_servers import Servers, broker, cache_options, connect, is_cluster, parsed

WATCHED = "redis+sentinel://me:p%40ss@one:1,[::1]:2,three/site/4?sentinel_password=word"


def test_an_address_of_sentinels_is_taken_apart():
    hosts = (("one", 1), ("::1", 2), ("three", 26379))
    access = {"username": "me", "password": "p@ss"}
    assert parsed(WATCHED) == Servers(hosts, "site", 4, access, {"password": "word"})
    assert parsed("rediss+cluster://one,two:7").hosts == (("one", 6379), ("two", 7))
    assert parsed("rediss+cluster://one").access == {"ssl": True}


@pytest.mark.parametrize("url", ["redis+sentinel://one", "redis+sentinel:///site", "redis+sentinel://one:x/site"])
def test_half_an_address_is_refused(url):
    with pytest.raises(ValueError):
        parsed(url)


def test_celery_gets_an_address_of_its_own_kind():
    assert broker("redis://x/1") == ("redis://x/1", {})
    assert broker("unix://:pw@/run/v.sock?db=2") == ("redis+socket://:pw@/run/v.sock?virtual_host=2", {})
    url, options = broker("redis+sentinel://:pw@one:1,two:2/site/3?sentinel_password=word")
    assert url == "sentinel://:pw@one:1/3;sentinel://:pw@two:2/3"
    assert options == {"master_name": "site", "sentinel_kwargs": {"password": "word"}}


def test_a_client_of_sentinels_asks_for_the_primary():
    pool = connect(WATCHED, socket_timeout=1).connection_pool
    assert (pool.service_name, pool.is_master, pool.connection_kwargs["db"]) == ("site", True, 4)
    assert pool.sentinel_manager.sentinel_kwargs == {"socket_timeout": 1, "password": "word"}


def test_only_servers_of_several_parts_get_a_client_of_ours():
    assert cache_options("redis://x") == cache_options("unix:///x") == {}
    assert cache_options(WATCHED) == {"CONNECTION_FACTORY": "ragsite.redis_servers.SharedClients"}
    assert is_cluster("redis+cluster://x")
    assert not is_cluster(WATCHED)


@pytest.mark.parametrize("name", ["REDIS_URL", "STREAMS_URL"])
def test_only_the_cache_may_be_in_a_cluster(name, settings):
    settings.CACHE_URL = "redis+cluster://x"
    assert "ragsite.E009" not in {found.id for found in run_checks()}
    setattr(settings, name, "redis+cluster://x")
    assert [found.msg for found in run_checks() if found.id == "ragsite.E009"] == [
        f"{name} is a cluster: only the cache may be in one."
    ]


def test_a_cluster_that_is_away_looks_like_a_server_that_is_away():
    with pytest.raises(redis_servers.ConnectionError):
        connect("redis+cluster://127.0.0.1:1", socket_connect_timeout=1)
