"""What is known of a resumable upload besides its bytes."""

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ragsite.fields import new_id

KEPT_FOR = timedelta(hours=24)
"""After its last bytes an upload may be gone on with for so long."""


def expiry() -> datetime:
    """When an upload that was touched now expires."""
    return timezone.now() + KEPT_FOR


class PartialUpload(models.Model):
    """A resumable upload. How far it has come is the size of its file: no row can disagree with the disk."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="partial_uploads")
    length = models.BigIntegerField(help_text="Bytes that the whole file will have.")
    filename = models.CharField(max_length=255)
    metadata = models.TextField(blank=True, help_text="Upload-Metadata as the client sent it.")
    collections = ArrayField(models.UUIDField(), default=list)
    unpack = models.BooleanField(default=False, help_text="A ZIP archive whose files become documents.")
    result = models.UUIDField(null=True, help_text="The document or the import that it has become.")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(default=expiry)

    class Meta:
        db_table = "documents_partialupload"
        constraints = [models.CheckConstraint(condition=Q(length__gt=0), name="documents_partialupload_length_check")]
        indexes = [
            # How many are open, of one owner.
            models.Index(fields=["owner"], condition=Q(result=None), name="partialupload_open_idx"),
            # The hourly sweep.
            models.Index(fields=["expires_at"], name="partialupload_expiry_idx"),
        ]

    @property
    def path(self) -> Path:
        """Where its bytes are gathered: beside other uploads, so that storing it is a rename."""
        return settings.LAYOUT.uploads_dir / f"{self.id.hex}.tus"

    @property
    def offset(self) -> int:
        """How many bytes have arrived. Raises FileNotFoundError when the file is gone."""
        return self.length if self.result else self.path.stat().st_size
