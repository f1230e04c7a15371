"""What was measured, in rows that are few and small."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from ragsite.service_level.sketch import Sketch, unpacked


class Rollup(models.Model):
    """A minute of one process (``step`` 60), or a longer time of all (``source`` 0).

    A process writes over its own row while the minute lasts; no other does, so that nobody waits for a row.
    """

    start = models.DateTimeField()
    step = models.PositiveIntegerField(help_text="Seconds.")
    source = models.BigIntegerField(help_text="The process, by a random number; 0: all.")
    indicator = models.CharField(max_length=20)
    subject = models.CharField(max_length=100, blank=True)
    count = models.PositiveBigIntegerField()
    errors = models.PositiveBigIntegerField()
    total = models.FloatField(help_text="Seconds of all together.")
    highest = models.FloatField()
    buckets = models.JSONField(help_text="[[bucket, count], …], see ragsite.service_level.sketch.")

    class Meta:
        db_table = "service_level_rollup"
        constraints = [
            # Also the index of what the page and `manage.py sla` read: all of a time, by its beginning.
            models.UniqueConstraint(
                fields=["start", "indicator", "subject", "step", "source"], name="service_level_rollup_row_uniq"
            ),
            models.CheckConstraint(condition=Q(step__in=[60, 300, 3600]), name="service_level_rollup_known_step_check"),
        ]

    def __str__(self) -> str:
        return f"{self.indicator} {self.subject} {self.start:%Y-%m-%d %H:%M} {self.step} s"

    @property
    def sketch(self) -> Sketch:
        return Sketch(self.count, self.errors, self.total, self.highest, unpacked(self.buckets))

    @classmethod
    def of(cls, start: datetime, step: int, source: int, key: tuple[str, str], sketch: Sketch) -> "Rollup":
        """The row of a sketch; ``key`` is its indicator and subject."""
        return cls(
            start=start,
            step=step,
            source=source,
            indicator=key[0],
            subject=key[1][:100],
            count=sketch.count,
            errors=sketch.errors,
            total=sketch.total,
            highest=sketch.highest,
            buckets=sketch.packed(),
        )


MEASURED = ["count", "errors", "total", "highest", "buckets"]
IDENTITY = ["start", "indicator", "subject", "step", "source"]


def write(rows: list[Rollup]) -> None:
    """Put the rows down, over those of the same identity: one statement."""
    Rollup.objects.bulk_create(rows, update_conflicts=True, unique_fields=IDENTITY, update_fields=MEASURED)
