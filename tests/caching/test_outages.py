"""Valkey stopped, frozen, slow or full: values are computed, and nothing from before a change is read after it."""

import time
from types import SimpleNamespace

import pytest
from django.db import connection
from redis.exceptions import ConnectionError

from ragsite import caching
from ragsite.caching import changing, counters, epoch, protocol
from ragsite.caching.protocol import Circuit, RedisError
from tests.caching.conftest import PURE, VALUES


def read(number):
    return caching.get_or_compute(VALUES, number.now, owner=number.row.owner_id, name="n")


def forget_pause(circuit):
    """Time goes by: who is to try again may."""
    circuit._opens_at = 0.0


def end_suspension():
    """Time goes by."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE caching_epoch SET suspended_until = statement_timestamp()")
    epoch.forget()


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_what_was_changed_in_an_outage_is_not_read_from_before_it(number, circuit, monkeypatch, mechanism):
    assert read(number) == 1
    with monkeypatch.context() as outage:
        outage.setattr(protocol, "bar", cut_off)
        if mechanism == "off":
            outage.setattr(epoch, "suspend", lambda: None)
        with changing(number.thing):
            number.write(2)
    circuit.reset()  # the server was there all the time, with all that it holds
    found = read(number)
    end_suspension()
    assert [found, read(number)] == ([2, 2] if mechanism == "on" else [1, 1])


def cut_off(*_args):
    raise ConnectionError("cut off")


def test_who_is_not_cut_off_does_not_read_what_one_who_is_has_changed(number, own_valkey):
    """Suspending is told to all through the database: another process believes what it has seen for half a second."""
    assert read(number) == 1
    before = epoch.view()
    epoch.suspend()
    assert time.monotonic() - before.at > epoch.SECONDS  # whoever has looked before looks again
    number.write(2)
    assert read(number) == 2
    assert epoch.view().suspended
    end_suspension()
    assert epoch.view().epoch != before.epoch
    assert read(number) == 2


def test_only_the_first_change_of_an_outage_waits(number, own_valkey, monkeypatch):
    waited = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr("ragsite.caching.epoch.time", clock)  # its own: other threads of this process sleep too
    own_valkey.stop()
    for value in (2, 3, 4):
        with changing(number.thing):
            number.write(value)
    assert waited == [epoch.SECONDS]
    assert read(number) == 4


def test_a_change_that_neither_valkey_nor_the_database_can_be_told_of_is_not_made_and_asked_for_again(
    owner, api, transactional_db, monkeypatch
):
    """PostgreSQL that is told to stop serves those who are connected, and refuses who comes."""
    refused = connection.get_connection_params() | {"host": "127.0.0.1", "port": 1}
    with monkeypatch.context() as outage:
        outage.setattr(protocol, "bar", cut_off)
        outage.setattr(connection, "get_connection_params", lambda: refused)
        answer = api(owner).post("/api/v1/collections", {"name": "Bridges"}, format="json")
    assert (answer.status_code, answer["Retry-After"]) == (503, "3"), answer.content
    assert answer.json()["code"] == "database_unavailable"
    again = api(owner).post("/api/v1/collections", {"name": "Bridges"}, format="json")
    assert again.status_code == 201  # nothing of the first one was stored, and its connection is none the worse


@pytest.mark.parametrize("fault", ["stop", "freeze"])
def test_a_server_that_is_gone_is_left_alone_and_found_again(number, own_valkey, circuit, fault):
    getattr(own_valkey, fault)()
    assert read(number) == 1
    assert not circuit.closed
    assert read(number) == 1
    own_valkey.stop()
    own_valkey.start()
    forget_pause(circuit)
    assert read(number) == 1
    assert circuit.closed
    reads = number.reads
    assert (read(number), number.reads) == (1, reads)


def test_a_pause_grows_and_lets_one_try_at_a_time(circuit):
    assert circuit.allows()
    circuit.fail()
    assert not circuit.allows()
    forget_pause(circuit)
    assert [circuit.allows(), circuit.allows()] == [True, False]
    for _ in range(10):
        circuit.fail()
    assert circuit._pause == Circuit.LONGEST_PAUSE
    circuit.note(0.001)
    assert circuit.allows()


def test_a_server_slower_than_the_rows_is_left_alone(slow_valkey, transactional_db, circuit):
    for name in range(Circuit.SLOW_IN_A_ROW):
        assert caching.get_or_compute(PURE, lambda: "value", name=str(name)) == "value"
    assert not circuit.allows()
    slow_valkey.seconds = 0.0
    forget_pause(circuit)
    protocol.redis().ping()
    assert caching.get_or_compute(PURE, lambda: "value", name="x") == "value"
    assert circuit.closed


def test_what_is_slow_because_of_ourselves_does_not_count(own_valkey, transactional_db, circuit):
    for _ in range(Circuit.SLOW_IN_A_ROW + 1):
        circuit.note(1.0)
    assert circuit.closed


def test_a_slow_server_is_told_of_changes_all_the_same(slow_valkey, number):
    caching.put(VALUES, 1, owner=number.row.owner_id, name="n")
    with changing(number.thing):
        number.write(2)
    assert read(number) == 2


@pytest.fixture
def full_valkey(own_valkey):
    """No room, and nothing that may be evicted."""
    own_valkey.stop()
    own_valkey.memory = "3mb"
    own_valkey.start()
    with pytest.raises(RedisError):
        for place in range(10_000):
            protocol.redis().set(f"broker:{place}", b"x" * 100_000)
    with pytest.raises(RedisError):
        for place in range(10_000):
            protocol.redis().set(f"small:{place}", b"x" * 10)
    return own_valkey


def test_a_server_without_room_is_as_good_as_away(full_valkey, number):
    assert (read(number), read(number)) == (1, 1)
    with changing(number.thing):
        number.write(2)
    assert read(number) == 2
    assert epoch.view().suspended


def test_a_server_that_is_full_of_values_drops_the_oldest(own_valkey, number):
    own_valkey.stop()
    own_valkey.memory = "4mb"
    own_valkey.start()
    for place in range(200):
        caching.put(VALUES, "x" * 10 + str(place) * 30_000, owner=number.row.owner_id, name=str(place))
        assert caching.get_or_compute(PURE, lambda: place, name=str(place)) == place  # noqa: B023
    with changing(number.thing):
        number.write(2)
    assert read(number) == 2
    assert not epoch.view().suspended


def test_the_epoch_is_made_where_there_is_none(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM caching_epoch")
    epoch.forget()
    assert not epoch.view().suspended
    assert epoch.view().epoch


def test_the_row_is_looked_at_twice_a_second_at_most(transactional_db, django_assert_num_queries):
    epoch.view()
    with django_assert_num_queries(0):
        epoch.view()


def test_what_was_counted_is_shown_and_what_cannot_be_counted_is_lost(own_valkey, transactional_db):
    counters.reset()
    for _ in range(3):
        caching.get_or_compute(PURE, lambda: "value", name="x")
    found = caching.statistics()["test-pure"]
    assert (found.hits, found.misses, found.kept) == (2, 1, 1)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert counters.memory()["test-pure"].values == 1
    counters.reset()
    assert caching.statistics()["test-pure"].reads == 0
    own_valkey.stop()
    assert caching.statistics()["test-pure"].reads == 0
