"""A small line chart as SVG, drawn here: the page needs no script for it, and its policy allows no inline style."""

from dataclasses import dataclass
from datetime import datetime

from ragsite.service_level.history import History
from ragsite.service_level.verdicts import Verdict, told

WIDTH, HEIGHT = 300, 70
HEADROOM = 1.15
MOST_LOW = 8.0
"""Where all values are below this part of the limit the chart is scaled to the values: the limit lies outside then."""
GAP_STEPS = 3.5
"""So many steps without a measurement interrupt the line."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """``lines`` are SVG's point lists; ``limit_y`` where the limit's line is, if it is in the picture."""

    lines: list[str]
    dots: list[tuple[str, str, str]]
    """Of single steps: x, y, what is said of them."""
    limit_y: str | None
    top: str
    begins: datetime
    ends: datetime
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(verdict: Verdict, history: History) -> Chart:
    points = verdict.points
    top = _top([value for _, value in points], verdict.target.limit)
    placed = [(_x(at, history), _y(value, top)) for at, value in points]
    limit = verdict.target.limit
    said = [f"{datetime.fromtimestamp(at):%H:%M}: {told(verdict.target, value)}" for at, value in points]
    return Chart(
        lines=[" ".join(f"{x:.1f},{y:.1f}" for x, y in run) for run in _runs(placed, _gap(history)) if len(run) > 1],
        dots=[(f"{x:.1f}", f"{y:.1f}", words) for (x, y), words in zip(placed, said, strict=True)],
        limit_y=f"{_y(limit, top):.1f}" if limit <= top else None,
        top=told(verdict.target, top),
        begins=history.since,
        ends=history.until,
    )


def _top(values: list[float], limit: float) -> float:
    highest = max(values, default=0.0)
    if 0 < highest < limit / MOST_LOW:
        return highest * HEADROOM
    return max(highest, limit) * HEADROOM


def _x(at: float, history: History) -> float:
    begins, ends = history.since.timestamp(), history.until.timestamp()
    return min(max((at + history.step.total_seconds() / 2 - begins) / (ends - begins), 0.0), 1.0) * WIDTH


def _y(value: float, top: float) -> float:
    return HEIGHT - value / top * HEIGHT


def _gap(history: History) -> float:
    return GAP_STEPS * history.step / (history.until - history.since) * WIDTH


def _runs(points: list[Point], gap: float) -> list[list[Point]]:
    """The points cut where nothing was measured for long."""
    runs: list[list[Point]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= gap:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs
