"""What the pipeline remembers beside the documents themselves."""

from django.conf import settings
from django.db import models


class Turn(models.Model):
    """When an owner was last given a worker: who waited longest is next; and which of the owner's documents is."""

    owner = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+")
    claimed_at = models.DateTimeField()
    newest_next = models.BooleanField(
        default=False, db_default=False, help_text="The next claim takes what came last, not what waits longest."
    )

    class Meta:
        db_table = "processing_turn"

    def __str__(self) -> str:
        return f"{self.owner_id}: {self.claimed_at}"
