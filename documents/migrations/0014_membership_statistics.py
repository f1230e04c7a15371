from django.db import migrations

# A collection is one owner's, which the planner cannot know: it takes the two conditions for independent, expects a
# tenth of the rows and sorts all of a large collection where a walk along document_uploaded_idx finds a page at once.
CREATE = """
CREATE STATISTICS documents_membership_owner_stat (dependencies) ON owner_id, collection_id FROM documents_membership;
ANALYZE documents_membership;
"""


class Migration(migrations.Migration):
    dependencies = [("documents", "0013_owner_indexes")]

    operations = [migrations.RunSQL(CREATE, "DROP STATISTICS documents_membership_owner_stat;")]
