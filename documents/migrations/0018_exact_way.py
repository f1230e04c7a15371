from django.db import migrations

from documents.migrations import _sql_effort as before
from documents.migrations import _sql_exact as sql


class Migration(migrations.Migration):
    dependencies = [("documents", "0017_one_index_of_names")]

    operations = [migrations.RunSQL(sql.NEAREST, before.NEAREST)]
