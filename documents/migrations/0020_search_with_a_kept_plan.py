from django.db import migrations

from documents.migrations import _sql_search as sql


class Migration(migrations.Migration):
    dependencies = [("documents", "0019_index_of_means")]

    operations = [migrations.RunSQL(sql.SEARCH, sql.DROP_SEARCH)]
