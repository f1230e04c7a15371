"""Large indexes are built over the rows once they are there, which takes a fraction of the time."""

from django.contrib.postgres.indexes import GinIndex
from django.db import connection
from django.db.models import Index, Model

from chat.models import Conversation, MessageBody
from documents.models import Chunk, Document, EmbeddingModel
from documents.vectors import create_index, drop_index

MODELS: tuple[type[Model], ...] = (Document, Chunk, Conversation, MessageBody)
WORTH_IT = 5_000
"""Rows: below, the indexes take the rows as they come."""


def drop_word_indexes(coming: dict[type[Model], int]) -> None:
    """Of the tables that will be mostly new."""
    with connection.cursor() as cursor:
        for model, rows in coming.items():
            if rows > max(WORTH_IT, _rows_of(model)):
                for index in _word_indexes(model):
                    cursor.execute(f'DROP INDEX IF EXISTS "{index.name}"')


def drop_vector_indexes(coming: int) -> None:
    if coming > max(WORTH_IT, _rows_of(Chunk)):
        for model in EmbeddingModel.objects.all():
            drop_index(model)


def make_missing_indexes() -> None:
    """Also those that a seeding which was killed has left out."""
    with connection.cursor() as cursor:
        for model in MODELS:
            for index in _word_indexes(model):
                cursor.execute("SELECT to_regclass(%s)", [index.name])
                if cursor.fetchone()[0] is None:
                    with connection.schema_editor(atomic=False) as editor:
                        editor.add_index(model, index)
        for embedding_model in EmbeddingModel.objects.all():
            create_index(embedding_model)


def refresh_statistics() -> None:
    """What autovacuum would do some minutes later."""
    with connection.cursor() as cursor:
        cursor.execute(
            "VACUUM (ANALYZE) documents_document, documents_text, documents_membership, documents_chunk, "
            "chat_conversation, chat_message, chat_messagebody, chat_citation, chat_retrievaltrace"
        )


def _word_indexes(model: type[Model]) -> list[Index]:
    return [index for index in model._meta.indexes if isinstance(index, GinIndex)]


def _rows_of(model: type[Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}")  # noqa: S608
        return int(cursor.fetchone()[0])
