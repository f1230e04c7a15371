"""Whether the site keeps what it promises."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from ragsite.service_level.history import History, Series
from ragsite.service_level.sketch import Sketch
from ragsite.service_level.targets import TARGETS, Statistic, Target

MET, MISSED, NO_DATA = "met", "missed", "no data"


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured for it."""

    target: Target
    measured: Sketch
    series: Series

    @property
    def value(self) -> float | None:
        return self.target.value(self.measured)

    @property
    def state(self) -> str:
        if self.value is None:
            return NO_DATA
        return MET if self.target.is_met_by(self.value) else MISSED

    @property
    def budget_left(self) -> float | None:
        return self.target.budget_left(self.measured)

    @property
    def breaks_the_level(self) -> bool:
        return self.state == MISSED and not self.target.aim

    @property
    def points(self) -> list[tuple[float, float]]:
        """Seconds since 1970 and the value of each step."""
        values = ((start.timestamp(), self.target.value(sketch)) for start, sketch in self.series)
        return [(at, value) for at, value in values if value is not None]


def verdicts(history: History, targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    return [Verdict(target, history.whole(target.indicator), history.series(target.indicator)) for target in targets]


def verdicts_of_last(length: timedelta) -> list[Verdict]:
    return verdicts(History(length, timedelta(minutes=1)))


def told(target: Target, value: float | None) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if target.statistic is Statistic.ERRORS:
        return f"{value:.2%}"
    if target.statistic is Statistic.HELD:
        return f"{value:.0f}"
    return seconds_told(value)


def seconds_told(value: float) -> str:
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def budget_told(verdict: Verdict) -> str:
    """What is left of what may go wrong; empty where nothing may, or nothing was measured."""
    left = verdict.budget_left
    if left is None:
        return ""
    if verdict.target.statistic is Statistic.AVERAGE:
        return f"{abs(left):.0%} {'below' if left >= 0 else 'above'} the limit"
    return f"{left:.0%} of the error budget left" if left >= 0 else f"{1 - left:.1f} times the error budget used"
