"""The docs and the administration show the registry as it is, and what the counters say."""

from datetime import timedelta

from django.core.management import call_command

from ragsite.caching import keyspaces
from ragsite.caching.advice import advise
from ragsite.caching.counters import AGES, Memory, Statistics
from ragsite.caching.describing import BEGIN, END, described
from ragsite.caching.registry import Keyspace
from ragsite.layout import PROJECT_DIR
from tests.caching.conftest import PURE


def test_the_docs_have_the_registry_as_it_is():
    page = (PROJECT_DIR / "docs" / "caching-strategy.md").read_text(encoding="utf-8")
    shown = page[page.index(BEGIN) : page.index(END) + len(END)]
    assert shown == described(), "run manage.py cache_advice --registry and put it into the page"


def test_the_administration_shows_every_keyspace(client, staff, owner, signed_in):
    page = signed_in(staff).get("/admin/caching/").content.decode()
    assert all(space.name in page for space in keyspaces())
    assert signed_in(owner).get("/admin/caching/").status_code == 302


def test_the_command_prints_a_line_for_each(capsys, db):
    call_command("cache_advice")
    printed = capsys.readouterr().out
    assert all(space.name in printed for space in keyspaces())


def seen(**counts):
    return Statistics("test", hits=900, misses=100, kept=100, hit_seconds=0.9, compute_seconds=1.0, **counts)


def test_what_is_still_found_at_its_end_is_kept_longer():
    hour = Keyspace("test-hour", {"name": str}, "", timedelta(hours=1))
    assert advise(hour, seen(ages=(100, 100, 700, 0, 0)), Memory(10, 1000)).ttl == timedelta(hours=2)
    assert advise(hour, seen(ages=(400, 350, 150, 0, 0)), Memory(10, 1000)).reason == "fits"


def test_what_is_found_young_is_kept_shorter():
    day = Keyspace("test-day", {"name": str}, "", timedelta(days=1))
    advice = advise(day, seen(ages=(890, 10, 0, 0, 0)), Memory(10, 1_000_000))
    assert advice.ttl == timedelta(seconds=AGES[0])
    assert advice.bytes < 1000


def test_what_does_not_pay_is_told():
    costly = Statistics("test", hits=10, misses=990, hit_seconds=0.1, compute_seconds=0.1)
    assert "costs more than it saves" in advise(PURE, costly, Memory(10, 1000)).reason


def test_of_little_nothing_is_told():
    assert "only" in advise(PURE, Statistics("test", hits=1), Memory(0, 0)).reason
