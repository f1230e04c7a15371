"""``python -m tests.load.autoscaling``: the table, and the picture for docs/images."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.load.autoscaling.day import Minute, recorded
from tests.load.autoscaling.plot import draw
from tests.load.autoscaling.rules import Rules, read_rules
from tests.load.autoscaling.simulation import Sample, outcome, simulate

PICTURE = Path(__file__).resolve().parents[3] / "docs" / "images" / "scaling-day.svg"
MOST_TRIED = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    day, web, workers = recorded(), read_rules("web"), read_rules("worker-small")
    runs = {
        "rules": simulate(day, web, workers),
        f"least: {web.least} web, {workers.least} workers": simulate(day, web.least, workers.least),
        **fixed(day, web, workers),
    }
    others = {
        "rules, workers by age alone": simulate(day, web, workers, "Value"),
        "the same, of type AverageValue": simulate(day, web, workers, "AverageValue"),
    }
    tell(runs | others)
    draw(day, runs, options.picture)
    print(f"drawn in {options.picture}")


def fixed(day: Sequence[Minute], web: Rules, workers: Rules) -> dict[str, list[Sample]]:
    """The fewest replicas that hold the level all day without any rule."""
    webs = next(n for n in range(web.least, MOST_TRIED) if not outcome(simulate(day, n, workers.least)).slow_minutes)
    for number in range(workers.least, MOST_TRIED):
        samples = simulate(day, webs, number)
        if not outcome(samples).late_minutes:
            return {f"fixed: {webs} web, {number} workers": samples}
    raise AssertionError("no number of replicas holds this day")


def tell(runs: Mapping[str, Sequence[Sample]]) -> None:
    print("| | oldest document | minutes over 5 min | minutes of slow requests | most web, workers | core-hours "
          "| PostgreSQL, cores at most |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for name, samples in runs.items():
        found = outcome(samples)
        most = ", ".join(map(str, found.most))
        print(f"| {name} | {found.oldest:.0f} s | {found.late_minutes:.0f} | {found.slow_minutes:.0f} | {most} "
              f"| {found.core_hours:.0f} | {found.database:.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()
