from django.db import migrations

from documents.migrations import _sql_effort as sql
from documents.migrations import _sql_nearest as before


class Migration(migrations.Migration):
    dependencies = [("documents", "0014_membership_statistics")]

    operations = [
        migrations.RunSQL(sql.NEAREST, sql.DROP_NEAREST),
        migrations.RunSQL(before.DROP_NEAREST, before.NEAREST),
    ]
