"""Reading what was measured."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from ragsite.service_level.models import Rollup
from ragsite.service_level.recorder import Key
from ragsite.service_level.sketch import Sketch


@dataclass(frozen=True)
class Window:
    """A time up to now, and the steps that its chart has."""

    name: str
    length: timedelta
    step: timedelta

    @property
    def words(self) -> str:
        return f"the last {self.name}"


WINDOWS = {
    window.name: window
    for window in (
        Window("hour", timedelta(hours=1), timedelta(minutes=1)),
        Window("day", timedelta(days=1), timedelta(minutes=15)),
        Window("week", timedelta(days=7), timedelta(hours=2)),
    )
}

Series = list[tuple[datetime, Sketch]]


class History:
    """All that was measured in a time, read once."""

    def __init__(self, length: timedelta, step: timedelta, until: datetime | None = None) -> None:
        self.until = until or timezone.now()
        self.since = self.until - length
        self.step = step
        self._points: dict[Key, dict[datetime, Sketch]] = defaultdict(dict)
        for rollup in Rollup.objects.filter(start__gte=self.since, start__lte=self.until).iterator():
            self._take(rollup)

    def _take(self, rollup: Rollup) -> None:
        points = self._points[rollup.indicator, rollup.subject]
        at = floor(rollup.start, self.step)
        points.setdefault(at, Sketch()).merge(rollup.sketch)

    def series(self, indicator: str, subject: str = "") -> Series:
        """The steps in which something was measured."""
        return sorted(self._points.get((indicator, subject), {}).items(), key=lambda point: point[0])

    def whole(self, indicator: str, subject: str = "") -> Sketch:
        """All of the time together."""
        whole = Sketch()
        for _, sketch in self.series(indicator, subject):
            whole.merge(sketch)
        return whole

    def subjects(self, indicator: str) -> dict[str, Sketch]:
        names = [subject for known, subject in self._points if known == indicator]
        return {name: self.whole(indicator, name) for name in sorted(names)}


def floor(moment: datetime, step: timedelta) -> datetime:
    """The beginning of the step that a moment lies in."""
    seconds = step.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
