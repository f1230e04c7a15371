"""The figures of one step out of what was recorded: plain dictionaries, which are the report's JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.load.harness.arithmetic import distribution, percentile, share_of, slope
from tests.load.harness.level import side_by_side
from tests.load.harness.machine import Calibration, busy
from tests.load.harness.running import Marks
from tests.load.harness.samples import Sample
from tests.load.harness.systems.base import FAILED, PROCESSED, Progress
from tests.load.harness.watching import Watched, largest
from tests.load.mock_model import Times

Json = dict[str, Any]
ANSWERS = ("answer", "answer, not streamed", "answer in a burst", "answer in a burst, not streamed")
STREAMED = ("answer", "answer in a burst")
GENERATOR_BUSY, GENERATOR_LATE = 0.8, 0.05
"""Above this share of its one core, or this lateness (p95, seconds), the generator was the limit."""
NOISY_SHARE = 0.1
"""Other processes or other guests took more of the machine than this: the figures are not to be published."""


@dataclass
class Step:
    """Everything that one step of a run has left. Moments are seconds since the epoch."""

    profile: str
    system: str
    cache: str
    users: int
    think: tuple[float, float]
    model: Times
    samples: list[Sample]
    marks: Marks
    watched: Watched
    documents: list[Progress]
    mock: Json
    calibrations: tuple[Calibration, Calibration]
    cores: int
    drained: bool = True
    valkey: dict[str, int] | None = None
    metrics: Json | None = None
    disk: dict[str, int] = field(default_factory=dict)
    level: list[Json] = field(default_factory=list)
    """What the site's own `manage.py sla` has said of this step."""

    @property
    def seconds(self) -> float:
        return self.marks.ended_at - self.marks.steady_at

    def steady(self) -> list[Sample]:
        """What began after all visitors had come and before they were told to go."""
        return [sample for sample in self.samples if self.marks.steady_at <= sample.started < self.marks.ended_at]


def summarise(step: Step) -> Json:
    steady = step.steady()
    answers = [sample for sample in steady if sample.operation in ANSWERS]
    found = {
        "profile": step.profile,
        "system": step.system,
        "cache": step.cache,
        "users": step.users,
        "think": step.think,
        "seconds": step.seconds,
        "operations": operations(steady, step.seconds),
        "errors": errors(steady),
        "answers": answers_of(answers, step),
        "cpu": processors(step, answers),
        "memory": memory(step),
        "database": database(step),
        "documents": documents_of(step),
        "caches": caches(step, steady, answers),
        "disk": step.disk,
        "generator": generator(step),
        "noise": noise(step),
        "model": {**step.mock, **asdict(step.model)},
    }
    figures = headline(found)
    compared = side_by_side(step.level, figures, [sample.went_well for sample in answers])
    return {**found, "figures": figures, "level": compared}


def operations(samples: Iterable[Sample], seconds: float) -> Json:
    """By name: how many, how often, and the distributions of those that went well."""
    grouped: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        grouped[sample.operation].append(sample)
    return {name: _operation(own, seconds) for name, own in sorted(grouped.items())}


def _operation(samples: Sequence[Sample], seconds: float) -> Json:
    well = [sample for sample in samples if sample.went_well]
    return {
        "count": len(samples),
        "errors": len(samples) - len(well),
        "a_second": len(well) / seconds,
        "first_event": _told([sample.first for sample in well if sample.first is not None]),
        "whole": _told([sample.whole for sample in well]),
    }


def _told(values: Sequence[float]) -> Json | None:
    found = distribution(values)
    return asdict(found) if found else None


def errors(samples: Iterable[Sample]) -> dict[str, int]:
    """By operation and kind."""
    return dict(Counter(f"{sample.operation}: {sample.error}" for sample in samples if sample.error).most_common())


def answers_of(answers: Sequence[Sample], step: Step) -> Json:
    """What people wait for, apart by where it comes from; and what the site adds to the model's own time."""
    well = [sample for sample in answers if sample.went_well]
    written = [sample for sample in well if sample.extra["by_model"]]
    streamed = [sample for sample in written if sample.operation in STREAMED]
    first, whole = step.model.first / 1000, step.model.whole / 1000
    timings: dict[str, list[float]] = defaultdict(list)
    for sample in written:
        for name, seconds in sample.extra["timings"].items():
            timings[name].append(seconds)
    return {
        "whole": _told([sample.whole for sample in well]),
        "whole_from_cache": _told([sample.whole for sample in well if sample.extra["cached"]]),
        "first_word": _told([sample.extra["first_token"] for sample in streamed if "first_token" in sample.extra]),
        "added_first": _told(
            [
                sample.extra["first_token"] - first - _rewriting(sample)
                for sample in streamed
                if "first_token" in sample.extra
            ]
        ),
        "added_whole": _told([sample.whole - whole - _rewriting(sample) for sample in written]),
        "rewriting": _told([seconds for sample in written if (seconds := _rewriting(sample))]),
        "site_timings": {name: _told(values) for name, values in sorted(timings.items())},
        "a_second": len(well) / step.seconds,
        "cached_share": share_of(sum(sample.extra["cached"] for sample in well), len(well)),
        "other_share": share_of(sum(not s.extra["cached"] and not s.extra["by_model"] for s in well), len(well)),
    }


def _rewriting(sample: Sample) -> float:
    """Seconds until the model had made a leaning question self-contained: its own time, before its answer."""
    return float(sample.extra["timings"].get("rewrite", 0.0))


def processors(step: Step, answers: Sequence[Sample]) -> Json:
    """Seconds of processor time by process tree, and what an answer costs where there is nothing but answers."""
    spent = step.watched.spent(step.marks.steady_at, step.marks.ended_at)
    window = step.watched.between(step.marks.steady_at, step.marks.ended_at)
    seconds = window[-1].at - window[0].at if len(window) > 1 else 0.0
    finished = (
        sum(sample.went_well and window[0].at <= sample.started < window[-1].at for sample in answers) if window else 0
    )
    site = spent.get("site")
    return {
        "seconds": spent,
        "of_a_core": {name: share_of(used, seconds) for name, used in spent.items()},
        "ms_an_answer": 1000 * site / finished if site and finished else None,
        "parts_ms_an_answer": {name: 1000 * used / finished for name, used in spent.items()} if finished else {},
        "only_answers": step.profile == "chat",
    }


def memory(step: Step) -> Json:
    """PSS in MB by process tree: the most in the steady time, and the growth an hour of all of it."""
    looks = [look for look in step.watched.between(step.marks.steady_at, step.marks.ended_at) if look.memory]
    most = (
        {name: max(look.memory[name] for look in looks if look.memory) / 1e6 for name in looks[0].memory or ()}
        if looks
        else {}
    )
    points = [(look.at / 3600, look.memory["all"] / 1e6) for look in looks if look.memory]
    return {"most_mb": most, "growth_mb_an_hour": slope(points) if len(points) > 2 else None}


def database(step: Step) -> Json:
    looks = step.watched.between(step.marks.steady_at, step.marks.ended_at)
    return {"most_connections": largest(looks, "connections")}


def documents_of(step: Step) -> Json:
    """From upload to processed, by the site's own clock, whenever they were uploaded in this step."""
    processed = [document for document in step.documents if document.status == PROCESSED]
    stages: dict[str, list[float]] = defaultdict(list)
    for document in processed:
        for name, seconds in document.stages.items():
            stages[name].append(seconds)
    looks = step.watched.looks
    return {
        "uploaded": len(step.documents),
        "processed": _told([document.seconds for document in processed if document.seconds is not None]),
        "stages": {name: _told(values) for name, values in stages.items()},
        "failed": dict(Counter(document.error for document in step.documents if document.status == FAILED)),
        "unfinished": sum(not document.over for document in step.documents),
        "most_queued": largest(looks, "queued"),
        "most_queue_age": largest(looks, "queue_age"),
        "drained": step.drained,
    }


def caches(step: Step, steady: Sequence[Sample], answers: Sequence[Sample]) -> Json:
    valkey = step.valkey
    asked = valkey["keyspace_hits"] + valkey["keyspace_misses"] if valkey else 0
    reads = [sample for sample in steady if "not_modified" in sample.extra]
    return {
        "not_modified": share_of(sum(sample.extra["not_modified"] for sample in reads), len(reads)),
        "answers_from_cache": share_of(sum(bool(sample.extra.get("cached")) for sample in answers), len(answers)),
        "valkey_hits": share_of(valkey["keyspace_hits"], asked) if valkey else None,
        "valkey_commands": valkey["total_commands_processed"] if valkey else None,
        "by_keyspace": step.metrics,
    }


def generator(step: Step) -> Json:
    """Whether the figures say more of the generator than of the site."""
    share = share_of(step.marks.cpu, step.seconds) or 0.0
    return {
        "of_a_core": share,
        "late_p50": step.marks.late_p50,
        "late_p95": step.marks.late_p95,
        "late_most": step.marks.late_most,
        "was_the_limit": share > GENERATOR_BUSY or step.marks.late_p95 > GENERATOR_LATE,
    }


def noise(step: Step) -> Json:
    """What else happened on the machine: others' processes, other guests, and a fixed loop before and after."""
    looks = step.watched.between(step.marks.steady_at, step.marks.ended_at)
    before, after = step.calibrations
    found: Json = {"loop_before": asdict(before), "loop_after": asdict(after)}
    found["loop_change"] = after.cpu / before.cpu - 1
    if len(looks) < 2:
        return {**found, "noisy": None}
    machine = busy(looks[0].machine, looks[-1].machine)
    spent = step.watched.spent(step.marks.steady_at, step.marks.ended_at)
    ours = sum(used for name, used in spent.items() if name in ("site", "generator", "model", "harness"))
    capacity = (looks[-1].at - looks[0].at) * step.cores
    shares = {name: seconds / capacity for name, seconds in machine.items()}
    others = max(0.0, machine["work"] - ours) / capacity
    noisy = others > NOISY_SHARE or shares["steal"] > NOISY_SHARE
    return {**found, "others": others, **shares, "noisy": noisy}


def headline(found: Json) -> dict[str, float | None]:
    """The figures that targets name."""
    answers, documents = found["answers"], found["documents"]
    whole, added, processed = answers["whole"] or {}, answers["added_first"] or {}, documents["processed"] or {}
    unwanted = sum(found["errors"].values()) + documents["unfinished"]
    return {
        "answer_average": whole.get("average"),
        "answer_p95": whole.get("p95"),
        "answer_p99": whole.get("p99"),
        "added_first_p95": added.get("p95"),
        "answers_a_second": answers["a_second"] if whole else None,
        "cpu_ms_an_answer": found["cpu"]["ms_an_answer"] if found["cpu"]["only_answers"] else None,
        "processed_average": processed.get("average"),
        "processed_p95": processed.get("p95"),
        "errors": float(unwanted),
        "memory_mb": found["memory"]["most_mb"].get("all"),
        "memory_mb_an_hour": found["memory"]["growth_mb_an_hour"],
    }


def of_several(values: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Median, least and most of what several runs have measured."""
    known = [value for value in values if value is not None]
    return (percentile(known, 50), min(known), max(known)) if known else None
