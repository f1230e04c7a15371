"""Changes of the schema that give up their place in a lock's line, instead of keeping all waiting behind them."""

from typing import Any

from django.db.backends.postgresql.schema import DatabaseSchemaEditor


class CarefulSchemaEditor(DatabaseSchemaEditor):
    """Each transaction of `manage.py migrate` waits for a lock as long as ``connection.lock_seconds`` says."""

    def __enter__(self) -> "CarefulSchemaEditor":
        entered = super().__enter__()
        seconds: float = getattr(self.connection, "lock_seconds", 0)
        if seconds and self.atomic_migration and not self.collect_sql:
            self.execute(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")
        return entered


class ChangesCarefully:
    """Put before a backend's DatabaseWrapper."""

    SchemaEditorClass: Any = CarefulSchemaEditor
    lock_seconds = 0.0
    """0: wait for ever, as PostgreSQL does."""
