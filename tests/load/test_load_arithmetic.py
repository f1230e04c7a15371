"""The report's arithmetic against distributions that are known."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.load.harness import level
from tests.load.harness.arithmetic import distribution, middle_and_range, percentile, slope
from tests.load.harness.files import make_files
from tests.load.harness.machine import Calibration
from tests.load.harness.offered import counted_between, counters_in
from tests.load.harness.profiles import ALL_FORMATS, PROFILES, SMALL_TEXTS, Profile, think_time, until_burst
from tests.load.harness.questions import Asked, common_questions
from tests.load.harness.report import text_of, verdicts_of
from tests.load.harness.running import Marks
from tests.load.harness.samples import Sample
from tests.load.harness.summary import Step, summarise
from tests.load.harness.systems.base import Progress
from tests.load.harness.targets import AIM, MET, MISSED, UNKNOWN, Target, knee, probe_verdicts
from tests.load.harness.visiting import READS, Visitor
from tests.load.harness.watching import Look, Watched
from tests.load.mock_model import Times

BEGIN, SECONDS = 1000.0, 100.0
QUIET = {"user": 0.0, "nice": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0, "irq": 0.0, "softirq": 0.0, "steal": 0.0}
MOCK = {"requests": 0, "answers": 0, "most_open": 0, "late_ms": {"p50": 0.0, "p95": 0.0, "most": 0.0}}


def answer(number: int, whole: float, cached: bool = False, started: float | None = None) -> Sample:
    extra = {"cached": cached, "by_model": not cached, "timings": {"search": 0.01}, "first_token": whole - 1.18}
    return Sample("answer", BEGIN + number / 20 if started is None else started, whole, 0.02, "", extra)


def look(second: float, site: float, busy: float = 0.0) -> Look:
    """The site has used so much of a core since it began; all processes of the machine ``busy`` more."""
    machine = {**QUIET, "user": second * (site + busy), "idle": second * (2 - site - busy)}
    memory = {"web": 100_000_000, "all": 300_000_000 + int(second * 1_000_000)}
    return Look(BEGIN + second, {"site": second * site, "web": second * site / 2}, machine, 7, 3, 1.5, memory)


def step(samples: list[Sample], busy: float = 0.0, profile: str = "chat") -> Step:
    return Step(
        profile=profile,
        system="ragsite",
        cache="off",
        users=100,
        think=(0.0, 0.0),
        model=Times(first=300, delay=20, tokens=60),
        samples=samples,
        marks=Marks(BEGIN, BEGIN + SECONDS, cpu=20.0, late_p50=0.001, late_p95=0.002, late_most=0.01),
        watched=Watched([look(second, 0.5, busy) for second in range(0, 101, 2)]),
        documents=[],
        mock=MOCK,
        calibrations=(Calibration(0.2, 0.2), Calibration(0.22, 0.25)),
        cores=2,
        valkey={"keyspace_hits": 30, "keyspace_misses": 10, "used_memory": 0, "total_commands_processed": 100},
    )


def test_percentiles_of_the_numbers_to_a_thousand_are_those_ranks() -> None:
    numbers = [float(number) for number in range(1, 1001)]
    random.Random(1).shuffle(numbers)
    found = distribution(numbers)
    assert found
    assert (found.p50, found.p95, found.p99, found.most) == (500, 950, 990, 1000)
    assert found.average == 500.5
    assert found.count == 1000


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([7.0], 99, 7.0), ([1.0, 2.0], 50, 1.0), ([1.0, 2.0], 51, 2.0)]
)
def test_percentiles_of_few_values_are_values_that_were_measured(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_percentiles_of_an_exponential_distribution_come_near_its_inverse() -> None:
    chooser = random.Random(3)
    values = [chooser.expovariate(2.0) for _ in range(100_000)]
    for share in (50, 95, 99):
        assert percentile(values, share) == pytest.approx(-math.log(1 - share / 100) / 2, rel=0.03)


def test_nothing_has_no_distribution() -> None:
    assert distribution([]) is None
    with pytest.raises(ValueError):
        percentile([], 50)


def test_growth_is_the_slope_of_the_line_through_the_points() -> None:
    assert slope([(0, 5), (1, 7), (2, 9)]) == pytest.approx(2)
    assert slope([(1, 5)]) == slope([(1, 5), (1, 9)]) == 0


def test_the_spread_of_runs_is_median_least_and_most() -> None:
    assert middle_and_range([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_only_what_began_in_the_steady_time_counts() -> None:
    early, late = answer(0, 9.0, started=BEGIN - 1), answer(0, 9.0, started=BEGIN + SECONDS)
    found = summarise(step([early, late, *(answer(number, 1.5) for number in range(2000))]))
    assert found["answers"]["whole"]["most"] == 1.5
    assert found["figures"]["answers_a_second"] == 20


def test_what_the_site_adds_is_apart_from_the_model_and_from_cached_answers() -> None:
    samples = [answer(number, 1.48 + 0.001 * (number + 1)) for number in range(100)]
    found = summarise(step([*samples, *(answer(number, 0.03, cached=True) for number in range(50))]))["answers"]
    assert found["added_whole"]["p95"] == pytest.approx(0.095)
    assert found["added_first"]["p50"] == pytest.approx(0.05)
    assert found["whole_from_cache"]["count"] == 50
    assert found["cached_share"] == pytest.approx(1 / 3)


def test_the_models_call_before_an_answer_is_the_models_time() -> None:
    rewritten = [answer(number, 1.48 + 0.6) for number in range(100)]
    for sample in rewritten:
        sample.extra["timings"] = {"rewrite": 0.57}
        sample.extra["first_token"] = 0.9
    found = summarise(step(rewritten))["answers"]
    assert found["added_whole"]["p95"] == pytest.approx(0.03)
    assert found["added_first"]["p95"] == pytest.approx(0.03)
    assert found["rewriting"]["p50"] == pytest.approx(0.57)


def test_processor_time_an_answer_is_that_of_the_whole_site() -> None:
    found = summarise(step([answer(number, 1.5) for number in range(2000)]))
    assert found["cpu"]["of_a_core"]["site"] == pytest.approx(0.5)
    assert found["figures"]["cpu_ms_an_answer"] == pytest.approx(25, rel=0.05)
    assert summarise(step([answer(1, 1.5)], profile="mixed"))["figures"]["cpu_ms_an_answer"] is None


def test_errors_are_counted_by_operation_and_kind_and_have_no_times() -> None:
    failed = [Sample("answer", BEGIN + 1, 60.0, None, "503 too_busy", {}) for _ in range(3)]
    found = summarise(step([*failed, answer(1, 1.5)]))
    assert found["errors"] == {"answer: 503 too_busy": 3}
    assert found["answers"]["whole"]["most"] == 1.5
    assert found["figures"]["errors"] == 3


def test_memory_growth_and_queue_come_from_the_looks() -> None:
    found = summarise(step([answer(1, 1.5)]))
    assert found["figures"]["memory_mb_an_hour"] == pytest.approx(3600)
    assert found["database"]["most_connections"] == 7
    assert found["documents"]["most_queue_age"] == 1.5
    assert found["caches"]["valkey_hits"] == 0.75


def test_documents_have_times_by_stage_and_unfinished_ones_are_errors() -> None:
    documents = [Progress("processed", seconds, {"embedding": seconds / 2}) for seconds in (1.0, 2.0, 3.0)]
    documents += [Progress("embedding"), Progress("failed", error="no_text")]
    found = summarise(replace(step([answer(1, 1.5)]), documents=documents))
    assert found["documents"]["processed"]["p95"] == 3
    assert found["documents"]["stages"]["embedding"]["average"] == 1
    assert found["documents"]["failed"] == {"no_text": 1}
    assert found["figures"]["errors"] == 1


def test_work_of_others_makes_a_run_noisy_and_the_report_says_so() -> None:
    quiet, noisy = (summarise(step([answer(1, 1.5)], busy=busy)) for busy in (0.1, 0.5))
    assert not quiet["noise"]["noisy"]
    assert noisy["noise"]["others"] == pytest.approx(0.25)
    assert "not to be published" in text_of(report_of(noisy), [])


def test_a_generator_that_is_late_or_busy_is_told_to_be_the_limit() -> None:
    calm = step([answer(1, 1.5)])
    late = replace(calm, marks=replace(calm.marks, late_p95=0.2))
    busy = replace(calm, marks=replace(calm.marks, cpu=95.0))
    assert [summarise(each)["generator"]["was_the_limit"] for each in (calm, late, busy)] == [False, True, True]
    assert "The load generator itself was the limit" in text_of(report_of(summarise(late)), [])


@pytest.mark.parametrize(("value", "told"), [(1.0, AIM), (1.7, MET), (2.5, MISSED), (None, UNKNOWN)])
def test_a_target_is_met_below_its_limit(value: float | None, told: str) -> None:
    assert Target("", "", "s", 2.5, 1.7).verdict(value) == told


def test_targets_of_rates_and_of_nothing_at_all() -> None:
    rate = Target("", "", "/s", 45, 60, at_least=True)
    assert [rate.verdict(value) for value in (60, 45, 44.9)] == [AIM, MET, MISSED]
    assert [Target("", "", "", 0.0).verdict(value) for value in (0.0, 1.0)] == [MET, MISSED]


def test_the_knee_is_the_last_step_before_the_first_that_did_not_hold() -> None:
    assert knee([(50, 1.5, 0), (100, 2.9, 0), (200, 3.0, 0), (300, 1.0, 0)]) == 100
    assert knee([(50, 1.5, 1)]) == knee([(50, None, 0)]) == 0


def report_of(*steps: dict) -> dict:
    head = {
        "profile": "chat",
        "about": "",
        "started": "",
        "system": "ragsite",
        "commit": "",
        "model": "",
        "settings": {},
    }
    machine = {"processor": "", "cores": 2, "memory_gb": 1}
    numbered = [{"run": number, **found} for number, found in enumerate(steps, 1)]
    return {**head, "machine": machine, "seeded": {}, "probes": None, "steps": numbered}


def test_verdicts_take_the_median_of_the_runs_and_all_their_errors() -> None:
    runs = [summarise(step([answer(number, seconds) for number in range(100)])) for seconds in (1.5, 1.6, 9.0)]
    runs[2]["figures"]["errors"] = 2.0
    found = {verdict.target.what: verdict for verdict in verdicts_of(report_of(*runs))}
    assert found["answers without a pause, p95"].value == 1.6
    assert found["errors"].missed
    text = text_of(report_of(*runs), list(found.values()))
    assert "3 runs of ragsite with 100 users" in text
    assert "1.6 (1.5–9)" in text
    assert "MISSED           errors: 2" in text


def test_rising_users_are_judged_by_how_far_they_held() -> None:
    calm = summarise(step([answer(number, 1.5) for number in range(100)], profile="mixed"))
    slow = summarise(step([answer(number, 4.0) for number in range(100)], profile="mixed"))
    report = {**report_of(calm, {**slow, "users": 400}), "profile": "mixed"}
    (verdict,) = verdicts_of(report)
    assert verdict.value == 100
    assert verdict.missed
    assert "Rising users" in text_of(report, [verdict])


def test_probes_are_judged() -> None:
    figures = {"retrieval_p50_ms": 7.0, "idle_memory_mb": 800.0, "second_start": 2.0}
    assert [verdict.told for verdict in probe_verdicts(figures)] == [MET, MISSED, AIM]


def test_think_times_grow_with_the_crowd() -> None:
    mixed = PROFILES["mixed"]
    assert think_time(mixed, 1) == think_time(mixed, 300) == (5.0, 15.0)
    assert think_time(mixed, 650) == (10.0, 30.0)
    assert think_time(mixed, 1000) == (15.0, 45.0)
    assert think_time(PROFILES["chat"], 1000) == (0.0, 0.0)


def test_bursts_come_at_the_same_moments_for_everybody() -> None:
    assert [until_burst(since, 5, 30) for since in (0, 4, 5, 6.5, 34, 35)] == [5, 1, 30, 28.5, 1, 30]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_shares_of_a_profile_are_whole(profile: Profile) -> None:
    assert sum(profile.mix.values()) == 100
    assert sum(share for _, _, share in profile.files) == pytest.approx(1)
    assert sum(READS.values()) == 100
    assert all(hasattr(Visitor, action if action != "chat" else "ask") for action in profile.mix)


def test_common_questions_are_drawn_by_their_rank_and_fresh_ones_are_new() -> None:
    common = common_questions(300)
    assert len(set(common)) == 300
    assert common == common_questions(300)
    asked = Asked(common, 0.4, random.Random(4))
    drawn = [asked.draw() for _ in range(10_000)]
    known = [question for question in drawn if question in set(common)]
    assert len(known) / len(drawn) == pytest.approx(0.6, abs=0.02)
    assert drawn.count(common[0]) / drawn.count(common[9]) == pytest.approx(10, rel=0.4)
    lengths = [len(question.split()) for question in common]
    assert min(lengths) == 3
    assert 50 <= max(lengths) <= 70


def test_another_system_is_a_column_and_not_judged() -> None:
    ours, other = (summarise(step([answer(number, seconds) for number in range(100)])) for seconds in (1.5, 9.0))
    report = report_of(ours, {**other, "system": "open-webui", "cache": "as it is"})
    found = verdicts_of(report)
    assert {verdict.cache for verdict in found} == {"off"}
    assert not any(verdict.missed for verdict in found if verdict.target.unit == "s")
    assert "open-webui, 100 users, answer cache as it is" in text_of(report, found)


def test_counters_of_caches_are_read_by_keyspace_and_counted_from_the_beginning_of_a_step() -> None:
    def metrics(hits: int) -> str:
        head = "# TYPE ragsite_cache_lookups_total counter\n"
        found = f'ragsite_cache_lookups_total{{keyspace="answers",result="hits"}} {hits}.0\n'
        return head + found + 'ragsite_cache_lookups_total{keyspace="answers",result="misses"} 2.0\n'

    before, after = counters_in(metrics(3)), counters_in(metrics(8))
    assert counted_between(before, after) == {"answers": {"hits": 5.0, "misses": 0.0}}
    assert counted_between(None, after) == {"answers": {"hits": 8.0, "misses": 2.0}}
    assert counted_between(before, None) is None
    assert counters_in("# TYPE other_total counter\nother_total 1.0\n") == {}


def test_files_have_their_sizes_and_shares_and_no_text_comes_twice(tmp_path: Path) -> None:
    made = [Path(path) for path in make_files(tmp_path, SMALL_TEXTS, 100)]
    sizes = sorted(path.stat().st_size for path in made)
    assert len(made) == 100
    assert [round(sizes[index], -3) for index in (0, 89, 90, 98, 99)] == pytest.approx(
        [1e4, 1e4, 1e5, 1e5, 1e6], rel=0.1
    )
    assert len({path.read_bytes() for path in made}) == 100


def test_all_formats_hold_a_large_file_of_pictures(tmp_path: Path) -> None:
    large = [kind for kind in ALL_FORMATS if kind[0] == "pictures"]
    (path,) = make_files(tmp_path, [("pictures", 2_000_000, share) for _, _, share in large], 100)
    assert Path(path).stat().st_size == pytest.approx(2_000_000, rel=0.1)
    assert Path(path).read_bytes().startswith(b"%PDF")


def test_a_knee_beyond_what_was_tried_is_not_measured() -> None:
    steps = [summarise(step([answer(number, 1.5) for number in range(100)], profile="mixed")) for _ in range(2)]
    report = {**report_of(steps[0], {**steps[1], "users": 200}), "profile": "mixed"}
    assert [verdict.told for verdict in verdicts_of(report)] == [UNKNOWN]


def told_of(target: str, value: float | None, **changed: Any) -> dict[str, Any]:
    usual = {"limit": 3.0, "verdict": "met", "statistic": "p95", "measured": 500}
    return {"target": target, "value": value, **usual, **changed}


def test_the_level_that_the_site_tells_is_compared_with_what_its_visitors_measured() -> None:
    told = [
        told_of("chat_p95", 2.1),
        told_of("chat_p99", 2.4),
        told_of("chat_errors", 0.25, statistic="errors", limit=0.001, verdict="missed"),
        told_of("processing_p95", None, verdict="no data"),
        told_of("users", 100.0, limit=1000),
    ]
    figures = dict.fromkeys(level.SAME_FIGURES.values()) | {"answer_p95": 2.3, "answer_p99": 3.3}
    compared = level.side_by_side(told, figures, [True, True, True, False])
    assert {one["target"]: one["agree"] for one in compared} == {
        "chat_p95": True,
        "chat_p99": False,
        "chat_errors": True,
    }
    assert [line.split(":")[-1] for line in level.lines(compared)] == [
        " they differ",
        " agree, the site says met",
        " DIFFER, the site says met",
        " agree, the site says missed",
    ]


@pytest.mark.parametrize(
    ("site", "visitors", "same"),
    [(1.70, 1.75, True), (2.95, 3.04, True), (0.01, 0.14, True), (1.0, 1.5, False), (2.0, 3.1, False)],
)
def test_values_agree_that_are_near_to_each_other(site: float, visitors: float, same: bool) -> None:
    assert level.agree(told_of("chat_p95", site), visitors) is same
    few = level.agree(told_of("chat_p95", site, measured=7), visitors)
    assert few is ((site < 3.0) == (visitors < 3.0))
