"""The day as a picture: queue age, replicas and cost, with the rules and without."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.load.autoscaling import costs
from tests.load.autoscaling.day import Minute
from tests.load.autoscaling.simulation import STEP, Sample

LEVEL_SECONDS = 300
EVERY = 6
"""Of the samples one in so many is drawn: half a minute."""
COLOURS = ("#1b6ac9", "#c2410c", "#6b7280")


def draw(day: Sequence[Minute], runs: Mapping[str, Sequence[Sample]], path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "ragsite", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(8, 9.5), layout="constrained")
        traffic, age, web, workers, cost = figure.subplots(5, 1, sharex=True)
        _traffic(traffic, day)
        for colour, (name, samples) in zip(COLOURS, runs.items(), strict=False):
            shown = samples[::EVERY]
            hours = [sample.seconds / 3600 for sample in shown]
            age.plot(hours, [max(1.0, sample.age) for sample in shown], color=colour, label=name)
            web.step(hours, [sample.web for sample in shown], color=colour)
            workers.step(hours, [sample.workers for sample in shown], color=colour)
            cost.plot(hours, _spent(samples)[::EVERY], color=colour)
        _name(age, web, workers, cost)
        figure.savefig(path, metadata={"Date": None})


def _traffic(axes: Axes, day: Sequence[Minute]) -> None:
    hours = [minute.minute / 60 for minute in day]
    axes.plot(hours, [(minute.questions + minute.reads) / 60 for minute in day], color="#374151", label="requests/s")
    taken = [(minute.kilobytes + minute.imported_kilobytes) / 60 for minute in day]
    axes.plot(hours, taken, color="#15803d", label="KB of documents/s")
    axes.set(ylabel="traffic", yscale="symlog", xlim=(0, 24), xticks=range(0, 25, 2))
    axes.legend(loc="upper right", frameon=False)


def _spent(samples: Sequence[Sample]) -> list[float]:
    """Core-hours that were asked for since midnight."""
    spent, total = [], 0.0
    for sample in samples:
        total += (sample.web * costs.WEB_CORES + sample.workers * costs.WORKER_CORES) * STEP / 3600
        spent.append(total)
    return spent


def _name(age: Axes, web: Axes, workers: Axes, cost: Axes) -> None:
    age.axhline(LEVEL_SECONDS, color="#b91c1c", linestyle=":", linewidth=1)
    age.text(0.2, LEVEL_SECONDS * 1.4, "service level: 5 minutes", color="#b91c1c")
    age.set(ylabel="oldest waiting\ndocument, s", yscale="log")
    age.legend(loc="lower left", frameon=False)
    web.set(ylabel="web replicas")
    workers.set(ylabel="worker replicas")
    cost.set(ylabel="core-hours\nasked for", xlabel="hour of the day")
