"""How many documents are worked on at once, by what waits and by what answers feel."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from documents.models import Document
from processing import scaling
from processing.admission import Admission
from processing.places import PlacedThreads, places
from processing.scaling import CALM_SECONDS, LevelAutoscaler, Rule, Signals, read_signals
from ragsite.service_level.models import Rollup
from ragsite.service_level.sketch import Sketch
from ragsite.service_level.targets import Indicator

IDLE = Signals(oldest_seconds=None, added_seconds=None)
JUST_CAME = Signals(oldest_seconds=0.5, added_seconds=None)
WAITING = Signals(oldest_seconds=30, added_seconds=0.02)
SUFFERING = Signals(oldest_seconds=30, added_seconds=0.8)


@pytest.fixture
def pool(settings, monkeypatch):
    """A pool of threads of a worker that may have two to four documents in work."""
    settings.PROCESSING_PLACES = 4
    monkeypatch.setattr(places, "_number", None)
    return PlacedThreads(2)


@pytest.fixture
def autoscaler(pool, monkeypatch):
    """Not by its clock: when the test says so, with the signals of the test."""
    monkeypatch.setattr(LevelAutoscaler, "_look_now_and_then", lambda self: None)
    monkeypatch.setattr(scaling, "wake_own", lambda: None)
    monkeypatch.setattr(scaling.connection, "close", lambda: None)
    return LevelAutoscaler(pool, 4, 2)


@pytest.mark.parametrize(("signals", "wanted"), [(IDLE, 2), (JUST_CAME, 3), (WAITING, 4), (SUFFERING, 2)])
def test_places_follow_what_waits_and_what_answers_feel(signals, wanted):
    assert Rule().wanted(signals, present=3, now=0) == wanted


def test_after_answers_have_suffered_no_place_is_added_for_a_while():
    rule = Rule()
    assert rule.wanted(SUFFERING, 3, now=100) == 2
    assert rule.wanted(WAITING, 2, now=100 + CALM_SECONDS - 1) == 2
    assert rule.wanted(WAITING, 2, now=100 + CALM_SECONDS + 1) == 3


def test_the_autoscaler_keeps_within_its_bounds(autoscaler, monkeypatch):
    seen = []
    for signals in [WAITING] * 4 + [SUFFERING] * 4:
        monkeypatch.setattr(scaling, "read_signals", lambda signals=signals: signals)
        autoscaler.look()
        autoscaler.maybe_scale()
        seen.append(places.number)
    assert seen == [3, 4, 4, 4, 3, 2, 2, 2]


def test_new_places_wake_a_worker_each(autoscaler, monkeypatch):
    woken = []
    monkeypatch.setattr(scaling, "wake_own", lambda: woken.append(1))
    monkeypatch.setattr(scaling, "read_signals", lambda: WAITING)
    autoscaler.look()
    autoscaler.maybe_scale()
    assert woken == [1]


def test_a_message_does_not_scale(autoscaler, monkeypatch):
    monkeypatch.setattr(scaling, "read_signals", lambda: WAITING)
    autoscaler.look()
    autoscaler.maybe_scale(req=object())
    assert places.number == 2


def test_a_database_that_is_away_leaves_the_places_as_they_are(autoscaler, monkeypatch):
    def away():
        raise OperationalError("away")

    monkeypatch.setattr(scaling, "read_signals", away)
    autoscaler.look()
    autoscaler.maybe_scale()
    assert places.number == 2


def test_no_more_documents_are_begun_than_there_are_places(pool, owner, upload):
    for number in range(4):
        upload(owner, f"text {number}", f"{number}.txt")
    admission = Admission()
    first, second = admission.claim(), admission.claim()
    assert first
    assert second
    assert admission.claim() is None
    pool.grow(1)
    assert admission.claim() is not None
    pool.shrink(1)
    admission.leave(first.attempt)
    assert admission.claim() is None


def test_the_longest_wait_of_all_owners_counts(owner, stranger, upload):
    waiting = [upload(owner, "one", "one.txt"), upload(stranger, "two", "two.txt")]
    Document.objects.filter(id=waiting[1].id).update(due_at=timezone.now() - timedelta(seconds=50))
    assert read_signals().oldest_seconds == pytest.approx(50, abs=20)
    Document.objects.filter(id__in=[document.id for document in waiting]).update(status="processed")
    assert read_signals().oldest_seconds is None


def test_answers_of_the_last_two_minutes_count(db):
    assert read_signals().added_seconds is None
    now = timezone.now()
    for age, seconds in ((600, 9.0), (30, 0.7)):
        sketch = Sketch()
        sketch.add(seconds)
        Rollup.of(now - timedelta(seconds=age), 60, age, (Indicator.ADDED, ""), sketch).save()
    assert read_signals().added_seconds == pytest.approx(0.7, rel=0.1)
