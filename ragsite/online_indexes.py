"""Indexes on partitioned tables while the site goes on, from Django migrations."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import NotSupportedError, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddIndex
from django.db.migrations.state import ProjectState

LOCK = "SET LOCAL lock_timeout = '3s'"
LONGEST_NAME = 63
PARTITIONS = """
SELECT relid::regclass::text FROM pg_partition_tree(%s) WHERE isleaf AND relid <> %s::regclass ORDER BY relid
"""
ATTACHED = """
SELECT x.indrelid::regclass::text FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
WHERE i.inhparent = %s::regclass AND x.indisvalid
"""


class AddIndexOnline(AddIndexConcurrently):
    """AddIndexConcurrently that can be repeated: what an interrupted run left of the index goes first."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class AddPartitionedIndex(AddIndex):
    """AddIndex for a partitioned table, where ``AddIndexConcurrently`` is refused by PostgreSQL.

    The index is made on the parent alone, where it holds nothing and is not used yet; concurrently on each partition,
    which keeps nobody from writing; then those are attached, and with the last one it counts. The migration needs
    ``atomic = False``; one that was interrupted goes on where it was when it is applied again.
    """

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        _refuse_transaction(schema_editor)
        made = _Building(schema_editor, model, self.index)
        if schema_editor.collect_sql:
            schema_editor.execute(made.concurrently(model._meta.db_table, self.index.name))
            return
        made.on_parent()
        for partition in made.missing():
            made.on_partition(partition)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        _refuse_transaction(schema_editor)
        with transaction.atomic(using=schema_editor.connection.alias):
            schema_editor.execute(LOCK)
            schema_editor.execute(f'DROP INDEX IF EXISTS "{self.index.name}"')

    def describe(self) -> str:
        return f"Create index {self.index.name} on each partition of {self.model_name}, concurrently"


def _refuse_transaction(schema_editor: Any) -> None:
    if schema_editor.atomic_migration and not schema_editor.collect_sql:
        raise NotSupportedError("AddPartitionedIndex works outside of a transaction: set atomic = False.")


class _Building:
    """The steps, each of which may have been done before."""

    def __init__(self, schema_editor: Any, model: type[models.Model], index: models.Index) -> None:
        self.editor, self.index, self.table = schema_editor, index, model._meta.db_table
        self._sql = str(index.create_sql(model, schema_editor))

    def _statement(self, how: str, table: str, name: str) -> str:
        """Django's statement, on another table and by another name."""
        head, _, rest = self._sql.partition(f' ON "{self.table}" ')
        unique = "UNIQUE " if head.startswith("CREATE UNIQUE") else ""
        return f'CREATE {unique}INDEX {how}"{name}" ON {table} {rest}'

    def concurrently(self, table: str, name: str) -> str:
        return self._statement("CONCURRENTLY ", f'"{table}"', name)

    def on_parent(self) -> None:
        with transaction.atomic(using=self.editor.connection.alias):
            self.editor.execute(LOCK)
            self.editor.execute(self._statement("IF NOT EXISTS ", f'ONLY "{self.table}"', self.index.name))

    def missing(self) -> list[str]:
        """The partitions that have no whole index yet."""
        done = set(self._column(ATTACHED, [f'"{self.index.name}"']))
        return [name for name in self._column(PARTITIONS, [self.table, self.table]) if name not in done]

    def on_partition(self, partition: str) -> None:
        name = f"{partition}_{self.index.name}"[:LONGEST_NAME]
        self.editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')  # half of one, of an interrupted migration
        self.editor.execute(self.concurrently(partition, name))
        with transaction.atomic(using=self.editor.connection.alias):
            self.editor.execute(LOCK)
            self.editor.execute(f'ALTER INDEX "{self.index.name}" ATTACH PARTITION "{name}"')

    def _column(self, sql: str, values: list[str]) -> list[str]:
        with self.editor.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return [row[0] for row in cursor.fetchall()]
