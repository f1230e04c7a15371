"""How long work takes on this machine, by what it took before. What was never measured has no rate; none is made up."""

from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from documents.queue.models import Rate

DECAY = 0.98
"""Of the older measurements with each new one: about the last fifty count."""
Measure = Rate.Measure

# A measurement that would have to wait for another's is left out: no worker ever waits at these few rows.
ADD = """
UPDATE documents_rate SET weight = weight * %(decay)s + 1, x = x * %(decay)s + %(x)s, y = y * %(decay)s + %(y)s,
  xx = xx * %(decay)s + %(x)s * %(x)s, xy = xy * %(decay)s + %(x)s * %(y)s
WHERE id = (SELECT id FROM documents_rate WHERE measure = %(measure)s AND subject = %(subject)s
            FOR UPDATE SKIP LOCKED)
"""
BEGIN = """
INSERT INTO documents_rate (measure, subject, weight, x, y, xx, xy)
VALUES (%(measure)s, %(subject)s, 1, %(x)s, %(y)s, %(x)s * %(x)s, %(x)s * %(y)s)
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


def record(measure: Measure, subject: str, x: float, y: float) -> None:
    """Note that ``y`` was measured at ``x``."""
    values: dict[str, str | float] = {"decay": DECAY, "measure": str(measure), "subject": subject, "x": x, "y": y}
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)
        if not cursor.rowcount:
            cursor.execute(BEGIN, values)
