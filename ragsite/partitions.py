"""Hash-partitioned tables from Django migrations."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import CreateModel
from django.db.migrations.state import ProjectState

PARTITIONS = 16


class CreateHashPartitionedModel(CreateModel):
    """CreateModel whose table is ``PARTITION BY HASH (owner_id)`` with sixteen partitions.

    Every query that names the owner then reads one partition, and the same key is the shard key of a distributed
    PostgreSQL later (docs/decisions/0002-chunk-keys.md).
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        plain = schema_editor.sql_create_table
        schema_editor.sql_create_table = plain + ' PARTITION BY HASH ("owner_id")'
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.sql_create_table = plain
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        for number in range(PARTITIONS):
            schema_editor.execute(
                f'CREATE TABLE "{table}_p{number:02}" PARTITION OF "{table}" '
                f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )

    def reduce(self, operation: Any, app_label: str) -> bool:
        """Never merged with another operation: squashing would silently make a plain table of it."""
        return False

    def describe(self) -> str:
        return f"Create hash-partitioned model {self.name}"
