"""The arithmetic of the autoscaling rules and of the day that is played against them."""

from dataclasses import replace

import pytest

from tests.load.autoscaling import costs
from tests.load.autoscaling.day import MINUTES, Minute, made, people_at, recorded
from tests.load.autoscaling.rules import Policies, Rules, Scaler, by_ratio, by_share, read_rules
from tests.load.autoscaling.simulation import START_SECONDS, Fleet, Line, outcome, simulate

STEADY = Policies(percent=((100, 60),), pods=((2, 60),))
SLOW = Policies(percent=((25, 120),), pods=((1, 120),), window=300)
RULES = Rules(1, 20, STEADY, SLOW, {"age": 30.0, "cpu": 0.6, "ragsite_answers_running": 24.0})


def test_a_ratio_multiplies_the_ready_replicas_and_a_tenth_around_the_target_changes_nothing():
    assert by_ratio(4, 4, value=90, target=30) == 12
    assert by_ratio(4, 2, value=90, target=30) == 6
    assert by_ratio(4, 4, value=32, target=30) == 4
    assert by_ratio(4, 4, value=0, target=30) == 0


def test_a_share_asks_for_what_the_value_divides_into():
    assert by_share(3, value=100, target=24) == 5
    assert by_share(4, value=100, target=24) == 4, "25 each are within a tenth of 24"


def test_replicas_double_each_minute_and_two_may_always_be_added():
    scaler = Scaler(RULES, 1)
    assert [scaler.decide(now, [20]) for now in (0, 15, 30, 45, 60, 120)] == [3, 3, 3, 3, 6, 12]


def test_replicas_never_leave_their_bounds():
    assert Scaler(RULES, 15).decide(0, [99]) == 20
    assert Scaler(replace(RULES, down=replace(SLOW, window=0, percent=((100, 60),))), 3).decide(15, [0]) == 1


def test_replicas_fall_only_after_the_window_and_a_quarter_at_a_time():
    scaler = Scaler(RULES, 8)
    assert scaler.decide(0, [8]) == 8
    assert {scaler.decide(now, [1]) for now in range(15, 301, 15)} == {8}
    assert [scaler.decide(now, [1]) for now in (315, 330, 435, 450)] == [6, 6, 4, 4]


def test_a_peak_within_the_window_keeps_what_is_there():
    scaler = Scaler(RULES, 8)
    for now in range(0, 600, 15):
        scaler.decide(now, [8 if now == 300 else 1])
    assert scaler.replicas == 8


def test_a_new_replica_works_when_it_has_started():
    fleet = Fleet(Scaler(RULES, 2), 2)
    fleet.decide(0, lambda current, ready: [4])
    assert (fleet.replicas, fleet.ready) == (4, 2)
    fleet.tend(START_SECONDS)
    assert fleet.ready == 4


def test_a_line_does_the_oldest_first_and_knows_its_age():
    line = Line()
    line.put(0, 10)
    line.put(5, 10)
    assert line.work(12) == 12
    assert (line.age(20), line.amount) == (15, 8)
    assert line.work(100) == 8
    assert line.age(20) == 0


def test_the_rules_are_those_of_the_manifests():
    assert read_rules("web").targets == {
        "cpu": 0.6, "ragsite_answers_running": 24.0, "ragsite_answer_added_p95_seconds": 1.0,
    }  # fmt: skip
    workers = read_rules("worker-small")
    assert (workers.least, workers.most, workers.targets, workers.down.window) == (
        2,
        20,
        {"age": 30.0, "cpu": 0.6},
        300,
    )


def test_what_is_asked_of_a_web_node_is_what_it_was_measured_to_hold():
    """24 answers in flight are 60 % of its processor where nobody does anything but ask."""
    answers_a_second = read_rules("web").targets["ragsite_answers_running"] / costs.ANSWER_SECONDS
    assert costs.web_cores(answers_a_second, 0) == pytest.approx(0.6, abs=0.005)


def test_a_worker_takes_in_what_its_two_cores_do():
    assert pytest.approx(59.5, abs=0.1) == costs.WORKER_KILOBYTES_A_SECOND


def test_the_day_in_the_file_is_the_one_that_is_made():
    assert recorded() == made()
    assert len(recorded()) == MINUTES
    assert max(map(people_at, range(MINUTES))) == pytest.approx(3000, rel=0.02)


def steady(minutes: int, **each: int) -> list[Minute]:
    empty = {"questions": 0, "reads": 0, "kilobytes": 0, "imported_kilobytes": 0}
    return [Minute(minute=number, **(empty | each)) for number in range(minutes)]


def test_a_fixed_fleet_that_is_large_enough_never_waits():
    found = outcome(simulate(steady(20, kilobytes=3000, questions=600), 1, 1))
    assert (found.oldest, found.slow_minutes, found.most) == (0, 0, (1, 1))
    assert found.core_hours == pytest.approx((1 + 2) / 3)


def test_work_beyond_a_fixed_fleet_waits_for_as_long_as_it_takes():
    found = simulate(steady(10, kilobytes=round(costs.WORKER_KILOBYTES_A_SECOND * 60 * 2)), 1, 1)
    assert found[-1].age == pytest.approx(300, abs=10), "twice what it can do: half of the time is behind"


def test_by_the_rules_a_day_holds_the_level_for_less_than_a_fixed_fleet_that_does():
    day, web, workers = recorded()[9 * 60 : 13 * 60], read_rules("web"), read_rules("worker-small")
    ruled, left = outcome(simulate(day, web, workers)), outcome(simulate(day, 2, 2))
    assert (ruled.late_minutes, ruled.slow_minutes) == (0, 0)
    assert left.late_minutes > 60
    large = outcome(simulate(day, *ruled.most))
    assert large.late_minutes == 0
    assert ruled.core_hours < large.core_hours
