"""An index of the large documents that wait, for workers that take nothing else; small ones are not in it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False  # a table that is written to all the time must not be locked meanwhile
    dependencies = [("documents", "0015_effort_of_the_index")]

    operations = [
        # Half of one, of a run that was interrupted, would be in the way. Who has migrated does not come here.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS document_bulk_idx", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="document",
            index=models.Index(
                fields=["owner", "due_at", "id"],
                condition=Q(status__in=["uploaded", "extracting", "chunking", "embedding"], size__gte=1048576),
                name="document_bulk_idx",
            ),
        ),
    ]
