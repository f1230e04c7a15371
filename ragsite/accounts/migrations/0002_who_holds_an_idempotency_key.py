"""Which process runs the request of a key: once it is gone, a repetition need not wait."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="idempotencykey",
            name="claimed_by",
            field=models.CharField(blank=True, db_default="", default="", help_text="ragsite.lifeline", max_length=200),
        )
    ]
