"""DATABASE_URL with several servers, and DATABASE_REPLICA_URLS."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from ragsite.databases import database_from_url, replicas_from_urls

PRIMARY = database_from_url("postgres://ann:s%2Fecret@one/site?sslmode=require&target_session_attrs=read-write", 8)


def test_several_servers_are_handed_to_libpq() -> None:
    made = database_from_url("postgres://ann:pw@one:5433,[::1],three:5434/site?target_session_attrs=read-write", 0)
    assert (made["HOST"], made["PORT"]) == ("one,::1,three", "5433,,5434")
    assert made["OPTIONS"]["target_session_attrs"] == "read-write"
    assert made["OPTIONS"]["tcp_user_timeout"], "one that has vanished does not hold up the others for minutes"


def test_one_server_is_as_it_was() -> None:
    made = database_from_url("postgres://ann:pw@one:5433/site", 0)
    assert (made["HOST"], made["PORT"], made["OPTIONS"]) == ("one", "5433", {"connect_timeout": 5})


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="port"):
        database_from_url("postgres://ann:pw@one:5433,two:x/site", 0)


def test_a_replica_takes_from_the_primary_what_its_url_does_not_say() -> None:
    made = replicas_from_urls("postgres://two:5433 postgres://bob:other@three/copy,postgres://four", PRIMARY, 8)
    assert list(made) == ["replica-1", "replica-2", "replica-3"]
    first, second = made["replica-1"], made["replica-2"]
    assert (first["HOST"], first["PORT"]) == ("two", "5433")
    assert (first["USER"], first["PASSWORD"], first["NAME"]) == ("ann", "s/ecret", "site")
    assert (second["USER"], second["PASSWORD"], second["NAME"]) == ("bob", "other", "copy")
    assert first["OPTIONS"]["sslmode"] == "require"
    assert "target_session_attrs" not in first["OPTIONS"], "it takes no writes"
    assert first["ENGINE"] == "ragsite.backends.pooled"


def test_without_urls_there_are_none() -> None:
    assert replicas_from_urls(" ", PRIMARY, 8) == {}
