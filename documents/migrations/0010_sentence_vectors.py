from django.db import migrations, models

from documents.migrations import _sql as first
from documents.migrations import _sql_nearest as sql


class Migration(migrations.Migration):
    dependencies = [("documents", "0009_measured_rates")]

    operations = [
        migrations.AddField(
            "embedding",
            "start",
            models.IntegerField(null=True, help_text="What it stands for, in the document's text; null: the chunk."),
        ),
        migrations.AddField("embedding", "end", models.IntegerField(null=True, help_text="Exclusive.")),
        migrations.AlterField(
            "embedding",
            "part",
            models.SmallIntegerField(default=0, help_text="1, 2, 3…: a sentence; 0: the chunk, by their mean if any."),
        ),
        migrations.RunSQL(sql.NEAREST, sql.DROP_NEAREST),
        migrations.RunSQL(first.DROP_NEAREST, first.NEAREST),
    ]
