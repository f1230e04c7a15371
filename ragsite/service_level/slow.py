"""What is slow now: parts of the work in the last minutes, beside what is usual for them."""

from dataclasses import dataclass
from datetime import timedelta

from ragsite.service_level.history import History
from ragsite.service_level.sketch import Sketch
from ragsite.service_level.targets import Indicator
from ragsite.service_level.verdicts import seconds_told

NOW = timedelta(minutes=10)
TITLES = {
    Indicator.STAGE: "Stages of documents",
    Indicator.RETRIEVAL: "Retrieval",
    Indicator.MODEL: "Language models, first token",
    Indicator.QUERY: "Slow statements (100 ms and more)",
    Indicator.VIEW: "Slow requests (500 ms and more)",
}
SLOWER = 2.0
"""A part counts as slow when its p95 is so many times the usual one."""
MOST_ROWS = 8


@dataclass(frozen=True)
class Row:
    name: str
    now: Sketch
    usual: Sketch

    @property
    def is_slow(self) -> bool:
        now, usual = self.now.percentile(95), self.usual.percentile(95)
        return bool(now and usual and now > SLOWER * usual)

    @property
    def now_told(self) -> str:
        return _told(self.now)

    @property
    def usual_told(self) -> str:
        return _told(self.usual)


@dataclass(frozen=True)
class Table:
    title: str
    rows: list[Row]


def tables(usual: History) -> list[Table]:
    """One for each kind of part of which anything was measured; what took the most time in all comes first."""
    now = History(NOW, timedelta(minutes=1))
    found = [Table(title, _rows(indicator, now, usual)) for indicator, title in TITLES.items()]
    return [table for table in found if table.rows]


def _rows(indicator: str, now: History, usual: History) -> list[Row]:
    recent, known = now.subjects(indicator), usual.subjects(indicator)
    rows = [Row(name, recent.get(name, Sketch()), known.get(name, Sketch())) for name in {**known, **recent}]
    return sorted(rows, key=lambda row: (row.is_slow, row.now.total, row.usual.total), reverse=True)[:MOST_ROWS]


def _told(sketch: Sketch) -> str:
    average, high = sketch.average, sketch.percentile(95)
    return "–" if average is None or high is None else f"{seconds_told(average)}, p95 {seconds_told(high)}"
