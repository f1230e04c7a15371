"""How long work takes on this machine, by what it took before. What was never measured has no rate; none is made up."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from documents.queue.models import Rate

DECAY = 0.98
"""Of the older measurements with each new one: about the last fifty count."""
Measure = Rate.Measure

# A measurement that would have to wait for another's is left out: no worker ever waits at these few rows.
ADD = """
WITH new (measure, subject, x, y) AS (
  SELECT * FROM unnest(%(measures)s, %(subjects)s, %(xs)s::float8[], %(ys)s::float8[])
), free AS (
  SELECT id, new.* FROM documents_rate JOIN new USING (measure, subject) FOR UPDATE OF documents_rate SKIP LOCKED
)
UPDATE documents_rate AS rate SET weight = weight * %(decay)s + 1, x = rate.x * %(decay)s + free.x,
  y = rate.y * %(decay)s + free.y, xx = rate.xx * %(decay)s + free.x * free.x,
  xy = rate.xy * %(decay)s + free.x * free.y
FROM free WHERE rate.id = free.id
"""
BEGIN = """
INSERT INTO documents_rate (measure, subject, weight, x, y, xx, xy)
SELECT measure, subject, 1, x, y, x * x, x * y
FROM unnest(%(measures)s, %(subjects)s, %(xs)s::float8[], %(ys)s::float8[]) AS new (measure, subject, x, y)
ON CONFLICT (measure, subject) DO NOTHING
"""


@dataclass(frozen=True)
class Line:
    """``base + slope · x``, neither of them negative."""

    base: float
    slope: float

    def at(self, x: float) -> float:
        return self.base + self.slope * x

    @classmethod
    def through(cls, rate: Rate) -> "Line":
        """The line of least squares; one through the origin when all was measured at about one x, or it would fall."""
        spread = rate.weight * rate.xx - rate.x * rate.x
        if spread > 1e-6 * rate.weight * rate.xx:
            slope = (rate.weight * rate.xy - rate.x * rate.y) / spread
            base = (rate.y - slope * rate.x) / rate.weight
            if slope >= 0 and base >= 0:
                return cls(base, slope)
            if slope < 0:
                return cls(rate.y / rate.weight, 0.0)
        return cls(0.0, rate.xy / rate.xx) if rate.xx else cls(rate.y / rate.weight, 0.0)


@dataclass(frozen=True)
class Rates:
    """All lines, by measure and subject."""

    lines: dict[tuple[str, str], Line]

    def reading(self, content_type: str) -> Line | None:
        """Seconds to read so many megabytes."""
        return self.lines.get((Measure.READING, content_type))

    def passages(self, content_type: str) -> Line | None:
        """Passages in so many megabytes."""
        return self.lines.get((Measure.PASSAGES, content_type))

    @property
    def finishing(self) -> Line | None:
        """Seconds to split and embed so many passages."""
        splitting, embedding = self.lines.get((Measure.SPLITTING, "")), self.embedding
        if splitting is None or embedding is None:
            return None
        return Line(splitting.base + embedding.base, splitting.slope + embedding.slope)

    @property
    def embedding(self) -> Line | None:
        """Seconds to embed so many passages by the present model."""
        return self.lines.get((Measure.EMBEDDING, settings.EMBEDDING_MODEL))

    @property
    def content_types(self) -> list[str]:
        return sorted(subject for measure, subject in self.lines if measure == Measure.READING)


def measured_rates() -> Rates:
    return Rates({(rate.measure, rate.subject): Line.through(rate) for rate in Rate.objects.all()})


@dataclass(frozen=True)
class Measurement:
    """``y`` was measured at ``x``."""

    measure: Measure
    subject: str
    x: float
    y: float


def record(measurements: Sequence[Measurement]) -> None:
    """Note what was measured, each of another measure or subject."""
    values: dict[str, float | list[str] | list[float]] = {
        "decay": DECAY,
        "measures": [str(entry.measure) for entry in measurements],
        "subjects": [entry.subject for entry in measurements],
        "xs": [entry.x for entry in measurements],
        "ys": [entry.y for entry in measurements],
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)
        if cursor.rowcount < len(measurements):
            cursor.execute(BEGIN, values)
