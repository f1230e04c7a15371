"""The report's plots, as SVG and PNG."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.load.harness.arithmetic import percentile
from tests.load.harness.summary import ANSWERS, Step

SLICES = 40
SHARES = (50, 95, 99)
PARTS = ("web", "worker", "encoder", "postgres", "valkey", "sandbox", "upkeep", "generator", "model")
mpl.rcParams.update({"svg.hashsalt": "ragsite", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})


def plot_step(step: Step, path: Path, title: str) -> None:
    """Four pictures of one step: answers over time and their distribution, processors, memory and queue."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(title)
    (over_time, spread), (processors, queue) = figure.subplots(2, 2)
    _plot_over_time(over_time, step)
    _plot_distribution(spread, step)
    _plot_processors(processors, step)
    _plot_queue(queue, step)
    _save(figure, path)


def _plot_over_time(axes: Axes, step: Step) -> None:
    """Percentiles of whole answers in slices of the time."""
    axes.set(title="whole answers over time", xlabel="seconds", ylabel="seconds")
    width = max(1.0, step.seconds / SLICES)
    slices: dict[int, list[float]] = defaultdict(list)
    for sample in step.samples:
        if sample.operation in ANSWERS and sample.went_well:
            slices[int((sample.started - step.marks.steady_at) // width)].append(sample.whole)
    for share in SHARES:
        points = [(number * width, percentile(values, share)) for number, values in sorted(slices.items())]
        axes.plot([x for x, _ in points], [y for _, y in points], label=f"p{share}")
    axes.axvspan(0, step.seconds, alpha=0.06, label="counted")
    axes.axhline(3, linestyle="--", linewidth=1, color="grey")
    axes.set_ylim(bottom=0)  # after the lines: before them it would stop the axis from fitting them
    axes.legend(loc="lower right")


def _plot_distribution(axes: Axes, step: Step) -> None:
    axes.set(title="share of answers that came within", xlabel="seconds", ylabel="share", ylim=(0, 1.02))
    well = [sample for sample in step.steady() if sample.operation in ANSWERS and sample.went_well]
    for label, values in (
        ("first word", [sample.extra["first_token"] for sample in well if "first_token" in sample.extra]),
        ("whole answer", [sample.whole for sample in well]),
    ):
        ordered = sorted(values)
        axes.step(ordered, [(rank + 1) / len(ordered) for rank in range(len(ordered))], label=label, where="post")
    axes.axvline(step.model.first / 1000, linestyle=":", color="grey", label="the model alone")
    axes.axvline(step.model.whole / 1000, linestyle=":", color="grey")
    axes.legend(loc="lower right")


def _plot_processors(axes: Axes, step: Step) -> None:
    """Of a core, by process tree, stacked."""
    axes.set(title="processor", xlabel="seconds", ylabel="cores", ylim=(0, step.cores * 1.05))
    looks = step.watched.looks
    names = [name for name in PARTS if looks and name in looks[-1].cpu]
    moments = [look.at - step.marks.steady_at for look in looks[1:]]
    used = [
        [
            max(0.0, now.cpu.get(name, 0.0) - before.cpu.get(name, 0.0)) / (now.at - before.at)
            for before, now in pairwise(looks)
        ]
        for name in names
    ]
    if moments and used:
        axes.stackplot(moments, used, labels=names, step="pre")
        axes.legend(loc="upper right", ncols=2)


def _plot_queue(axes: Axes, step: Step) -> None:
    axes.set(title="memory and documents waiting", xlabel="seconds", ylabel="MB (PSS)")
    looks = [look for look in step.watched.looks if look.memory]
    begin = step.marks.steady_at
    axes.plot([look.at - begin for look in looks], [(look.memory or {})["all"] / 1e6 for look in looks], label="memory")
    axes.set_ylim(bottom=0)
    other = axes.twinx()
    waiting = [look for look in step.watched.looks if look.queued is not None]
    other.plot([look.at - begin for look in waiting], [look.queued for look in waiting], color="C1", label="documents")
    other.set_ylabel("documents")
    other.set_ylim(bottom=0)
    axes.legend(loc="upper left")
    other.legend(loc="upper right")


def plot_knee(steps: Sequence[dict[str, Any]], path: Path) -> None:
    """Answers a second and their p95 over the number of users."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    other = axes.twinx()
    for column in dict.fromkeys((step["system"], step["cache"]) for step in steps):
        own = [step for step in steps if (step["system"], step["cache"]) == column]
        own.sort(key=lambda step: step["users"])
        label = f"{column[0]}, answer cache {column[1]}"
        users = [step["users"] for step in own]
        axes.plot(users, [step["figures"]["answer_p95"] for step in own], "o-", label=f"p95, {label}")
        rates = [step["figures"]["answers_a_second"] for step in own]
        other.plot(users, rates, "s--", color="grey", label=f"answers a second, {label}")
    axes.axhline(3, linestyle=":", color="C3", label="3 s")
    axes.set(xlabel="users", ylabel="whole answer, p95, seconds")
    other.set_ylabel("answers a second")
    axes.set_ylim(bottom=0)
    other.set_ylim(bottom=0)
    axes.legend(loc="upper left")
    other.legend(loc="lower right")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110)
