"""What this site has measured of its own work."""

from django.db import models


class Rate(models.Model):
    """Decayed sums over measurements of y at x, from which a line is fitted; the newest count most."""

    class Measure(models.TextChoices):
        READING = "reading", "seconds at megabytes, by content type"
        PASSAGES = "passages", "passages at megabytes, by content type"
        SPLITTING = "splitting", "seconds at passages"
        EMBEDDING = "embedding", "seconds at passages, by embedding model"

    id = models.BigAutoField(primary_key=True)
    measure = models.CharField(max_length=10, choices=Measure.choices)
    subject = models.CharField(max_length=200, blank=True)
    weight = models.FloatField(default=1, help_text="How many measurements, the older ones counted less.")
    x = models.FloatField()
    y = models.FloatField()
    xx = models.FloatField()
    xy = models.FloatField()

    class Meta:
        db_table = "documents_rate"
        constraints = [
            models.UniqueConstraint(fields=["measure", "subject"], name="documents_rate_subject_uniq"),
            models.CheckConstraint(
                condition=models.Q(measure__in=["reading", "passages", "splitting", "embedding"]),
                name="documents_rate_measure_check",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.measure} {self.subject}"
