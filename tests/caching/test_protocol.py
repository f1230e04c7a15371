"""A value is never older than the last write that had been committed before it was read."""

import threading
import time

import numpy as np
import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from ragsite import caching
from ragsite.caching import FLOATS, JSON, PAGE, Dependency, Keyspace, changed, changing, epoch, protocol, reading
from ragsite.caching.registry import LARGEST_VALUE
from ragsite.caching.writing import announced
from tests.caching.conftest import PURE, RAW, THING, VALUES


def read(number):
    return caching.get_or_compute(VALUES, number.now, owner=number.row.owner_id, name="n")


def test_a_value_is_computed_once_until_what_it_is_made_of_changes(number):
    assert (read(number), read(number), number.reads) == (1, 1, 1)
    with changing(number.thing):
        number.write(2)
    assert (read(number), read(number), number.reads) == (2, 2, 2)


def test_what_is_rolled_back_changes_nothing(number):
    read(number)
    with pytest.raises(RuntimeError), changing(number.thing):
        number.write(2)
        raise RuntimeError
    assert (read(number), number.reads) == (1, 1)


def test_a_transaction_sees_its_own_writes_and_keeps_them_to_itself(number):
    read(number)
    with transaction.atomic():
        number.write(2)
        assert read(number) == 2
        transaction.set_rollback(True)
    assert read(number) == 1


def test_a_change_is_not_told_outside_a_transaction(number):
    with pytest.raises(TransactionManagementError):
        changed(number.thing)


def test_others_see_the_old_value_until_the_commit(number):
    read(number)
    with changing(number.thing):
        number.write(2)
        assert in_thread(lambda: caching.get(VALUES, owner=number.row.owner_id, name="n")) == 1
    assert read(number) == 2


def in_thread(work):
    """What a reader on another connection gets."""
    found = []

    def run():
        try:
            found.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_a_slow_reader_does_not_store_what_was_overtaken(number, monkeypatch, mechanism):
    if mechanism == "off":  # a change that does not touch the stamps
        monkeypatch.setattr(protocol, "bar", lambda *_args: None)
        monkeypatch.setattr(protocol, "unbar", lambda *_args: None)
    seen = caching.look(VALUES, owner=number.row.owner_id, name="n")
    old = number.now()
    with changing(number.thing):
        number.write(2)
    kept = caching.fill(seen, old)
    assert (kept, read(number)) == ((False, 2) if mechanism == "on" else (True, 1))


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_between_the_commit_and_the_stamp_nothing_old_is_read(number, monkeypatch, mechanism):
    if mechanism == "off":  # invalidating after the commit alone
        monkeypatch.setattr(protocol, "bar", lambda *_args: None)
    read(number)
    found = []
    unbar = protocol.unbar

    def look_first(*args):
        found.append(in_thread(lambda: read(number)))
        unbar(*args)

    monkeypatch.setattr(protocol, "unbar", look_first)
    with changing(number.thing):
        number.write(2)
    assert found == [2 if mechanism == "on" else 1]
    assert read(number) == 2


def test_while_something_is_barred_nothing_is_kept(number):
    protocol.bar("someone", epoch.view().epoch, [number.thing])
    assert (read(number), read(number), number.reads) == (1, 1, 2)
    protocol.unbar("someone", epoch.view().epoch, [number.thing])
    assert (read(number), read(number), number.reads) == (1, 1, 3)


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_of_two_writers_the_first_to_be_done_does_not_free_the_other_ones_values(number, monkeypatch, mechanism):
    if mechanism == "off":  # a bar that all writers share
        bar, unbar = protocol.bar, protocol.unbar
        monkeypatch.setattr(protocol, "bar", lambda _writer, *rest: bar("all", *rest))
        monkeypatch.setattr(protocol, "unbar", lambda _writer, *rest: unbar("all", *rest))
    slow = announced([number.thing])
    slow.__enter__()
    with announced([number.thing]):
        pass  # a quick one
    kept = caching.fill(caching.look(VALUES, owner=number.row.owner_id, name="n"), 1)
    number.write(2)
    found = read(number)
    slow.__exit__(None, None, None)
    assert (kept, found) == ((False, 2) if mechanism == "on" else (True, 1))


def test_the_bar_of_a_writer_that_died_lapses_and_what_was_kept_before_is_gone(number, monkeypatch):
    read(number)
    monkeypatch.setattr(protocol, "BAR_SECONDS", 0.05)
    protocol.bar("dead", epoch.view().epoch, [number.thing])
    deadline = time.monotonic() + 10
    while caching.look(VALUES, owner=number.row.owner_id, name="n").stamps is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (read(number), number.reads) == (1, 2)


def test_a_commit_that_fails_leaves_its_bar_because_it_may_have_been_done(number, monkeypatch):
    read(number)
    with pytest.raises(RuntimeError), caching.writing.announced([number.thing]):
        raise RuntimeError
    assert caching.look(VALUES, owner=number.row.owner_id, name="n").stamps is None


def test_a_bar_is_not_what_a_full_server_evicts_first(number):
    protocol.bar("writer", epoch.view().epoch, [number.thing])
    _, bar = protocol.stamp_keys(epoch.view().epoch, [number.thing])
    assert protocol.redis().ttl(bar) == -1


def test_a_stamp_that_was_evicted_takes_its_values_with_it(number):
    read(number)
    stamp, _ = protocol.stamp_keys(epoch.view().epoch, [number.thing])
    protocol.redis().delete(stamp)
    assert (read(number), number.reads) == (1, 2)


def test_stamps_are_random_and_not_counted(number):
    stamp, _ = protocol.stamp_keys(epoch.view().epoch, [number.thing])
    seen = set()
    for _ in range(3):
        read(number)
        seen.add(protocol.redis().get(stamp))
        protocol.redis().delete(stamp)
    assert len(seen) == 3


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_a_hundred_who_miss_at_once_compute_once(transactional_db, monkeypatch, mechanism):
    if mechanism == "off":
        monkeypatch.setattr(reading, "_await_flight", lambda space, names: reading._look(space, names, flight=""))
    computed, start = [], threading.Barrier(100)

    def compute():
        computed.append(1)
        time.sleep(0.3)
        return "value"

    def ask(found):
        start.wait()
        found.append(caching.get_or_compute(PURE, compute, name="stampede"))

    found: list[str] = []
    threads = [threading.Thread(target=ask, args=(found,)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["value"] * 100
    assert (len(computed) == 1) is (mechanism == "on")


@pytest.mark.parametrize("refused", [False, True])
def test_a_value_that_is_filled_ends_its_own_flight_kept_or_not(transactional_db, refused):
    names = protocol.names(PURE.entry({"name": "mine"}), "", ())
    sight = protocol.sight(protocol.look(names, "mine", 60))
    assert protocol.fill(names, b"other" if refused else sight.stamps, b"value", 60, "mine") is not refused
    assert not protocol.redis().exists(names.flight)


def test_a_value_that_is_filled_leaves_the_flight_of_another_one(transactional_db):
    names = protocol.names(PURE.entry({"name": "theirs"}), "", ())
    sight = protocol.sight(protocol.look(names, "theirs", 60))
    assert protocol.fill(names, sight.stamps, b"value", 60, "mine")
    assert protocol.redis().get(names.flight) == b"theirs"


def test_when_the_one_who_computes_fails_another_one_does(transactional_db):
    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        caching.get_or_compute(PURE, fail, name="failing")
    assert caching.get_or_compute(PURE, lambda: 2, name="failing") == 2


def test_nobody_waits_for_ever_for_one_who_died(transactional_db):
    names = protocol.names(PURE.entry({"name": "dead"}), "", ())
    protocol.look(names, "dead", 60)
    quick = Keyspace("test-quick", {"name": str}, "", PURE.ttl, flight=PURE.ttl / 600)
    names = protocol.names(quick.entry({"name": "dead"}), "", ())
    protocol.look(names, "dead", 60)
    assert caching.get_or_compute(quick, lambda: 3, name="dead") == 3


def test_many_values_come_in_one_round_trip(number):
    for name in "ab":
        caching.put(VALUES, name, owner=number.row.owner_id, name=name)
    keys = [{"owner": number.row.owner_id, "name": name} for name in "abc"]
    assert caching.get_many(VALUES, keys) == ["a", "b", None]


def test_a_value_may_be_removed(transactional_db):
    caching.put(PURE, 1, name="x")
    caching.delete(PURE, name="x")
    assert caching.get(PURE, name="x") is None


def test_a_value_that_must_not_be_kept_is_not(transactional_db):
    assert caching.get_or_compute(PURE, lambda: 1, keep=lambda _: False, name="x") == 1
    assert caching.get(PURE, name="x") is None


def test_a_value_of_another_schema_or_damaged_is_none(transactional_db):
    caching.put(PURE, {"a": 1}, name="x")
    key = protocol.value_key(PURE.entry({"name": "x"}))
    whole = protocol.redis().get(key)
    for data in (whole.replace(b"\n\x01", b"\n\x02", 1), whole[:-2] + b"\xff", b"\n\x01", b""):
        protocol.redis().set(key, data)
        assert caching.get(PURE, name="x") is None


def test_what_is_too_large_is_not_kept(transactional_db):
    assert not caching.put(RAW, b"x" * (LARGEST_VALUE + 1), name="x")


def test_keys_are_typed_and_cannot_be_mixed_up(number):
    with pytest.raises(TypeError):
        VALUES.entry({"owner": "1", "name": "n"})
    with pytest.raises(TypeError):
        VALUES.entry({"owner": True, "name": "n"})
    with pytest.raises(TypeError):
        VALUES.entry({"owner": 1})
    with pytest.raises(TypeError):
        THING(stranger=1)
    entries = {
        VALUES.entry({"owner": owner, "name": name}) for owner, name in [(1, "2:x"), (12, "x"), (1, "x"), (2, "x")]
    }
    assert len(entries) == 4


def test_names_are_taken_once():
    with pytest.raises(ValueError):
        Dependency("test-thing", ("owner",), "")
    with pytest.raises(TypeError):
        Keyspace("test-wrong", {"name": str}, "", PURE.ttl, (THING,))


@pytest.mark.parametrize("value", [{"a": [1, "ü\ud800", None, 0.1]}, "x" * 5000, []])
def test_json_comes_back_as_it_was(value):
    assert JSON.read(JSON.write(value)) == value


def test_vectors_and_pages_come_back_as_they_were():
    vector = np.arange(5, dtype=np.float32) / 3
    assert (FLOATS.read(FLOATS.write(vector)) == vector).all()
    assert PAGE.read(PAGE.write(b"<p>" * 9000)) == b"<p>" * 9000
    assert len(PAGE.write(b"<p>" * 9000)) < 500


def test_a_keyspace_may_be_switched_off(number, settings):
    settings.CACHES_OFF = {"test-values"}
    assert (read(number), read(number), number.reads) == (1, 1, 2)


def test_keys_have_the_sites_prefix(number):
    read(number)
    names = [name.decode() for name in protocol.redis().scan_iter() if b"test-" in name]
    assert names
    assert all(name.startswith("ragsite:") for name in names)


def test_values_expire(transactional_db):
    caching.put(PURE, 1, name="x")
    assert 0 < protocol.redis().ttl(protocol.value_key(PURE.entry({"name": "x"}))) <= 60
