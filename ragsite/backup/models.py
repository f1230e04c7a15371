"""What waits for the end of a backup."""

from django.db import models


class HeldFolder(models.Model):
    """A folder of the storage that would have been removed while a backup was being made.

    It has no owner: the person may be gone before it is.
    """

    path = models.CharField(max_length=200, primary_key=True)

    class Meta:
        db_table = "backup_heldfolder"
