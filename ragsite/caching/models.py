"""What the database knows of the cache."""

from django.db import models


class Epoch(models.Model):
    """The one row that says which stamps count, and until when none do: written by who cannot reach Valkey."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.UUIDField()
    suspended_until = models.DateTimeField()

    class Meta:
        db_table = "caching_epoch"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="caching_epoch_one_check")]
