"""What administrators are told of replicas."""

from typing import Any

import pytest
from django.test import Client

from ragsite.health import MOST_LAG_SECONDS, NotWell, check_replica
from ragsite.replicas import checks
from ragsite.replicas.gauges import replica_gauges
from tests.replicas.known_fleet import ALIAS, KnownFleet

Seen = tuple[Any, ...]


def test_readyz_names_a_replica_that_was_promoted_and_stays_ready(client: Client, fleet: KnownFleet) -> None:
    part = client.get("/readyz").json()["parts"]
    assert "takes writes" in part[ALIAS]["detail"]
    assert part["database"]["ok"]


@pytest.mark.parametrize(("seen", "words"), [((False, 0.0), "takes writes"), ((True, 61.0), "61 seconds behind")])
def test_readyz_says_what_is_wrong(seen: Seen, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_LAG_SECONDS == 60
    monkeypatch.setattr("ragsite.health.query", lambda _parameters, _sql: [seen])
    with pytest.raises(NotWell, match=words):
        check_replica({})


def test_a_replica_that_is_well_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragsite.health.query", lambda _parameters, _sql: [(True, 3.0)])
    check_replica({})


PRIMARY = (False, 7, "site", True)


@pytest.mark.parametrize(
    ("replica", "told"),
    [
        ((True, 7, "site", True), []),
        ((True, 8, "site", True), ["ragsite.E015"]),
        ((True, 7, "other", True), ["ragsite.E015"]),
        ((False, 7, "site", True), ["ragsite.W011"]),
        ((True, 7, "site", False), ["ragsite.W012"]),
    ],
)
def test_the_check_tells_what_is_no_replica(
    replica: Seen, told: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REPLICAS = [ALIAS]
    monkeypatch.setattr(checks, "_state", lambda alias: replica if alias == ALIAS else PRIMARY)
    assert [message.id for message in checks.check_replicas()] == told


def test_the_check_asks_real_servers(fleet: KnownFleet) -> None:
    assert [message.id for message in checks.check_replicas()] == ["ragsite.W011"]


def test_one_that_cannot_be_reached_is_a_warning(fleet: KnownFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connections

    monkeypatch.setitem(connections[ALIAS].settings_dict, "HOST", "/nowhere")
    assert [message.id for message in checks.check_replicas()] == ["ragsite.W010"]
    assert all(family.name == "ragsite_replica_lag_seconds" or not family.samples for family in replica_gauges())
