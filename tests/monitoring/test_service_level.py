"""What is measured, kept, thinned and judged."""

import json
import random
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError

from ragsite.service_level import recorder as recording
from ragsite.service_level.chart import chart_of
from ragsite.service_level.history import History
from ragsite.service_level.models import Rollup, write
from ragsite.service_level.recorder import Recorder
from ragsite.service_level.sketch import ERROR, Sketch, merged, of_values, unpacked
from ragsite.service_level.targets import (
    CHAT_SECONDS,
    CONCURRENT_USERS,
    ERROR_SHARE,
    TARGETS,
    Indicator,
    Statistic,
    Target,
)
from ragsite.service_level.thinning import ALL, KEPT, thin
from ragsite.service_level.verdicts import MET, MISSED, NO_DATA, verdicts

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
P95 = next(target for target in TARGETS if target.name == "chat_p95")


class Clock:
    def __init__(self, now):
        self.now = now.timestamp()

    def __call__(self):
        return self.now


@pytest.fixture
def recorder(db):
    made = Recorder(Clock(NOW))
    made.start(automatic=False)
    return made


def exact(values, percent):
    """By the definition: the smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


# --- The sketch -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("percent", [50, 95, 99])
@pytest.mark.parametrize("spread", [0.1, 1.0, 2.0])
def test_a_percentile_is_within_the_stated_error_of_the_exact_one(spread, percent):
    rng = random.Random(7)
    values = [rng.lognormvariate(0, spread) for _ in range(5000)]
    assert of_values(values).percentile(percent) == pytest.approx(exact(values, percent), rel=ERROR)


def test_sketches_of_parts_add_up_to_the_sketch_of_the_whole():
    rng = random.Random(8)
    values = [rng.expovariate(1) for _ in range(999)]
    parts = merged(of_values(values[start::3]) for start in range(3))
    whole = of_values(values)
    assert (parts.count, parts.buckets, parts.highest) == (whole.count, whole.buckets, whole.highest)
    assert parts.average == pytest.approx(sum(values) / len(values))


def test_a_sketch_comes_back_from_json_as_it_was():
    sketch = of_values([0.00001, 0.02, 3, 3, 4000])
    assert unpacked(json.loads(json.dumps(sketch.packed()))) == sketch.buckets


def test_an_empty_sketch_has_no_figures():
    empty = Sketch()
    assert (empty.average, empty.percentile(95), empty.error_share) == (None, None, None)


# --- The targets ------------------------------------------------------------------------------------------------------
def test_the_budget_left_is_the_share_of_slow_ones_that_may_still_come():
    measured = of_values([1.0] * 98 + [10.0] * 2)  # 2 of the 5 of 100 that may be slow
    assert P95.budget_left(measured) == pytest.approx(0.6)
    assert P95.is_met_by(P95.value(measured))


def test_an_overdrawn_budget_is_below_nothing():
    assert P95.budget_left(of_values([1.0] * 90 + [10.0] * 10)) == pytest.approx(-1)


def test_errors_are_a_share_of_all_that_ended():
    target = Target("errors", "", Indicator.ANSWER, Statistic.ERRORS, ERROR_SHARE)
    measured = of_values([1.0] * 999, errors=1)
    assert target.value(measured) == pytest.approx(0.001)
    assert not target.is_met_by(target.value(measured))
    assert target.budget_left(measured) == pytest.approx(0)


def test_few_people_miss_nothing():
    target = Target("users", "", Indicator.USERS, Statistic.HELD, CONCURRENT_USERS)
    assert target.value(Sketch(highest=3)) == 3
    assert target.is_met_by(3)
    assert target.value(Sketch()) is None


# --- Recording --------------------------------------------------------------------------------------------------------
def test_what_a_process_measures_is_a_row_of_its_minute_however_often_it_is_written(recorder):
    recorder.measured(Indicator.ANSWER, 1.0)
    recorder.flush()
    recorder.measured(Indicator.ANSWER, 2.0)
    recorder.failed(Indicator.ANSWER)
    recorder.flush()
    recorder.flush()
    row = Rollup.objects.get()
    assert (row.indicator, row.count, row.errors, row.total, row.step) == ("answer", 2, 1, 3.0, 60)
    assert row.start == NOW.replace(second=0)


def test_many_measurements_are_written_in_one_statement(recorder, django_assert_num_queries):
    for number in range(1000):
        recorder.measured(Indicator.STAGE, number / 100, f"stage {number % 10}")
    with django_assert_num_queries(3):  # a savepoint, the rows, its release
        recorder.flush()
    with django_assert_num_queries(0):
        recorder.flush()
    assert Rollup.objects.count() == 10


def test_processes_do_not_write_over_each_other(recorder):
    other = Recorder(Clock(NOW))
    other.start(automatic=False)
    for one, seconds in ((recorder, 1.0), (other, 5.0)):
        one.measured(Indicator.ANSWER, seconds)
        one.flush()
    assert Rollup.objects.count() == 2
    assert History(timedelta(hours=1), MINUTE, NOW).whole("answer").total == 6.0


def test_a_process_that_is_not_the_service_keeps_nothing(db):
    idle = Recorder()
    idle.measured(Indicator.ANSWER, 1.0)
    idle.flush()
    assert not Rollup.objects.exists()


def test_what_could_not_be_written_is_written_later(recorder, monkeypatch):
    recorder.measured(Indicator.ANSWER, 1.0)
    with monkeypatch.context() as away:
        away.setattr(recording, "write", _unreachable)
        recorder.flush()
    recorder._clock.now += 120
    recorder.measured(Indicator.ANSWER, 2.0)
    recorder.flush()
    assert sorted(Rollup.objects.values_list("total", flat=True)) == [1.0, 2.0]


def test_minutes_that_cannot_be_written_for_long_are_given_up(recorder, monkeypatch):
    monkeypatch.setattr(recording, "write", _unreachable)
    for _ in range(recording.KEPT_MINUTES * 2):
        recorder.measured(Indicator.ANSWER, 1.0)
        recorder.flush()
        recorder._clock.now += 60
    assert len(recorder._minutes) <= recording.KEPT_MINUTES + 2


def _unreachable(rows):
    raise OperationalError("away")


def test_subjects_without_bound_become_one(recorder):
    for number in range(recording.MOST_SUBJECTS + 50):
        recorder.measured(Indicator.QUERY, 1.0, f"SELECT {number}")
    recorder.flush()
    assert Rollup.objects.count() == recording.MOST_SUBJECTS + 1
    assert Rollup.objects.get(subject="other").count == 50


def test_people_are_counted_once_over_all_processes(recorder):
    other = Recorder(Clock(NOW))
    other.start(automatic=False)
    for one, people in ((recorder, (1, 2, 3)), (other, (3, 4))):
        for person in people:
            one.seen(person)
        one.flush()
    assert History(timedelta(hours=1), MINUTE, NOW).whole("users").highest == 4


def test_people_are_counted_by_process_while_the_cache_is_away(recorder, settings):
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    recorder.seen(1)
    recorder.seen(2)
    recorder.flush()
    assert Rollup.objects.get().highest == 2


# --- Thinning ---------------------------------------------------------------------------------------------------------
def _put(age, seconds, source=1, step=60):
    start = (NOW - age).replace(second=0)
    write([Rollup.of(start, step, source, ("answer", ""), of_values(seconds))])


def test_old_minutes_are_added_up_and_nothing_is_lost(db):
    for source in (1, 2):
        for minutes in range(180, 200):
            _put(timedelta(minutes=minutes), [1.0, 2.0], source)
    _put(timedelta(minutes=5), [3.0])
    before = History(timedelta(days=1), MINUTE, NOW).whole("answer")
    assert thin(NOW) > 30
    after = History(timedelta(days=1), MINUTE, NOW).whole("answer")
    assert (after.count, after.total, after.buckets) == (before.count, before.total, before.buckets)
    assert set(Rollup.objects.filter(step=300).values_list("source", flat=True)) == {ALL}
    assert Rollup.objects.filter(step=60).count() == 1


def test_a_late_row_joins_those_that_were_added_up_before(db):
    _put(timedelta(hours=3), [1.0], source=1)
    thin(NOW)
    _put(timedelta(hours=3), [2.0], source=2)
    thin(NOW)
    row = Rollup.objects.get()
    assert (row.step, row.count, row.total) == (300, 2, 3.0)


def test_thinning_twice_changes_nothing(db):
    _put(timedelta(hours=5), [1.0])
    _put(timedelta(days=5), [1.0])
    thin(NOW)
    first = list(Rollup.objects.order_by("id").values())
    assert thin(NOW) == 0
    assert list(Rollup.objects.order_by("id").values()) == first


def test_days_become_hours_and_very_old_rows_go(db):
    _put(timedelta(days=3), [1.0])
    _put(KEPT + timedelta(days=1), [1.0])
    thin(NOW)
    assert list(Rollup.objects.values_list("step", flat=True)) == [3600]


# --- Verdicts, the command, the chart ---------------------------------------------------------------------------------
def test_a_target_is_met_missed_or_not_measured(db):
    _put(timedelta(minutes=3), [1.0] * 90 + [9.0] * 10)
    found = {verdict.target.name: verdict.state for verdict in verdicts(History(timedelta(hours=1), MINUTE, NOW))}
    assert (found["chat_average"], found["chat_p95"], found["processing_p95"]) == (MET, MISSED, NO_DATA)


def _sla(*arguments):
    out = StringIO()
    status = 0
    try:
        call_command("sla", *arguments, stdout=out)
    except SystemExit as end:
        status = end.code
    return status, out.getvalue()


def test_the_command_ends_well_while_the_level_is_kept(recorder):
    recorder._clock.now = datetime.now(UTC).timestamp()
    recorder.measured(Indicator.ANSWER, 1.0)
    recorder.flush()
    status, told = _sla("--since", "10m")
    assert status == 0
    assert "met      Answers, 95 of 100" in told


def test_the_command_ends_with_1_when_the_level_is_missed(recorder):
    recorder._clock.now = datetime.now(UTC).timestamp()
    for _ in range(10):
        recorder.measured(Indicator.ANSWER, CHAT_SECONDS * 2)
        recorder.measured(Indicator.ADDED, 9.0)
    recorder.flush()
    status, told = _sla("--json")
    found = {entry["target"]: entry for entry in json.loads(told)}
    assert status == 1
    assert found["chat_p95"]["verdict"] == "missed"
    assert found["chat_p95"]["value"] == pytest.approx(6, rel=ERROR)


def test_an_aim_that_is_missed_is_no_failure(recorder):
    recorder._clock.now = datetime.now(UTC).timestamp()
    recorder.measured(Indicator.ADDED, 9.0)
    recorder.flush()
    assert _sla()[0] == 0


def test_the_command_says_what_a_time_looks_like(db):
    with pytest.raises(Exception, match="write 10m, 1h or 7d"):
        call_command("sla", "--since", "yesterday")


def test_a_chart_is_interrupted_where_nothing_was_measured(db):
    for minutes in (5, 6, 7, 30, 31):
        _put(timedelta(minutes=minutes), [1.0])
    history = History(timedelta(hours=1), MINUTE, NOW)
    drawn = chart_of(next(v for v in verdicts(history) if v.target is P95), history)
    assert [len(line.split()) for line in drawn.lines] == [2, 3]
    assert len(drawn.dots) == 5
