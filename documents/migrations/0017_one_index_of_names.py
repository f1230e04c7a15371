"""Where the database's order is C, document_filename_idx finds names by prefix too; document_name_idx is not read."""

from django.db import migrations

FORWARDS = """
DO $$ BEGIN
  IF (SELECT datcollate IN ('C', 'POSIX') AND datlocprovider IN ('b', 'c') FROM pg_database
      WHERE datname = current_database())
  THEN DROP INDEX IF EXISTS document_name_idx; END IF;
END $$
"""
BACKWARDS = """
CREATE INDEX IF NOT EXISTS document_name_idx
ON documents_document (owner_id, lower(filename) text_pattern_ops, id)
"""


class Migration(migrations.Migration):
    dependencies = [("documents", "0016_bulk_queue")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
