"""A second way to the tests' database that counts as a replica, and says of itself what a test wants."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from ragsite.caching import epoch, protocol
from ragsite.replicas import reading
from ragsite.replicas.doorkeeper import Doorkeeper
from tests.replicas.known_fleet import ALIAS, KnownFleet


@pytest.fixture
def fleet(settings: Any, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Iterator[KnownFleet]:
    """One replica; the caches are on, and nothing from before is believed."""
    settings.REPLICAS = [ALIAS]
    settings.DATABASE_ROUTERS = ["ragsite.replicas.routing.ReplicaRouter"]
    settings.CACHES_OFF = set()
    # Not among the settings: Django's tests forbid what they have not been told of, but what is made by hand.
    connections[ALIAS] = type(connections["default"])({**connection.settings_dict}, ALIAS)
    monkeypatch.setattr("ragsite.caching.reading.doorkeeper", Doorkeeper())
    known = KnownFleet()
    monkeypatch.setattr(reading, "fleet", known)
    protocol.circuit.reset()
    epoch.forget()
    yield known
    connections[ALIAS].close()
    del connections[ALIAS]
    protocol.circuit.reset()
    epoch.forget()


@pytest.fixture
def on_replica(fleet: KnownFleet) -> Iterator[CaptureQueriesContext]:
    """The statements that the replica gets."""
    with CaptureQueriesContext(connections[ALIAS]) as seen:
        yield seen
