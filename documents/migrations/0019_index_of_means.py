"""The index that ``create_index`` of documents/vectors.py makes for a new model, for those that are there."""

from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ragsite.online_indexes import AddPartitionedIndex

MOST_DIMENSIONS = 1024


class AddIndexesOfMeans(Operation):
    """One a model, on each partition concurrently."""

    atomic = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """They are not of the schema: they come and go with the models."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for index in self._indexes(schema_editor, to_state):
            AddPartitionedIndex("embedding", index).database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for index in self._indexes(schema_editor, to_state):
            AddPartitionedIndex("embedding", index).database_backwards(app_label, schema_editor, from_state, to_state)

    def _indexes(self, schema_editor: Any, state: ProjectState) -> list[models.Index]:
        kept = state.apps.get_model("documents", "EmbeddingModel").objects.using(schema_editor.connection.alias)
        return [
            models.Index(
                fields=["owner", "document_id", "position"],
                include=["vector"],
                condition=models.Q(model_id=model_id, part=0),
                name=f"documents_embedding_means_{model_id}",
            )
            for model_id in kept.filter(dimensions__lte=MOST_DIMENSIONS).values_list("id", flat=True)
        ]

    def describe(self) -> str:
        return "Create the index of the vectors of whole chunks of each model"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("documents", "0018_exact_way")]

    operations = [AddIndexesOfMeans()]
