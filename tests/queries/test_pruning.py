"""Whatever reads or writes passages, vectors and traces asks one partition each time: the owner's.

The routes and the clock's tasks are checked by test_plans.py; here are the workers' statements, and that the check
fails where the owner is left out.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from documents.models import Chunk, Document, Embedding
from documents.services import delete_documents, reprocess_documents
from documents.vectors import register_model
from processing import pipeline
from processing.renewal import renew_vectors
from processing.writing import KNOWN, MEANS, MISSING
from ragsite.layout import PROJECT_DIR
from tests.queries.plans import unpruned
from tests.queries.recording import Statement, recorded

pytestmark = pytest.mark.django_db
PARTITIONED = ("documents_chunk", "documents_embedding", "chat_retrievaltrace")
NAMED = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?\"?documents_(?:chunk|embedding)\b")
TEXT = "# Rivers\n\nThe Danube flows through Vienna. It is long.\n\n# Hills\n\nThe Rigi is high. It has a railway."
NOT_BY_OWNER = {
    "DELETE FROM documents_embedding WHERE model_id = %s": "a model that no document has any more, once in its life",
}
"""Statements that are of all owners, and why."""


def read(statements: list[Statement]) -> set[str]:
    """Which of the partitioned tables were named."""
    return {table for table in PARTITIONED for statement in statements if table in statement.sql}


def faults(statements: list[Statement]) -> dict[str, list[str]]:
    wrong = {statement.shape: unpruned(statement) for statement in statements if statement.shape not in NOT_BY_OWNER}
    return {shape: found for shape, found in wrong.items() if found}


def test_a_documents_whole_life_asks_its_owners_partition(owner, stranger, processed, settings):
    register_model("another/sentences", 384)  # an index over it cannot be made in the test's transaction later
    with connection.cursor() as cursor:  # what may win where tables are nearly empty: to read all partitions once
        for way in ("hashjoin", "mergejoin", "material", "seqscan"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
    processed(stranger, TEXT, "theirs.md")
    with recorded(plans=True) as statements:
        document = processed(owner, TEXT, "rivers.md")
        reprocess_documents(Document.objects.filter(owner=owner, id=document.id))
        while pipeline.process_next():
            pass
        settings.EMBEDDING_MODEL = "another"
        assert renew_vectors() > 0
        while pipeline.process_next():
            pass
        assert renew_vectors() == 0  # forgets the old model
        delete_documents(owner_id=owner.pk, documents=[document.id])
    assert read(statements) >= {"documents_chunk", "documents_embedding"}
    assert faults(statements) == {}
    assert any(statement.inside for statement in statements)  # the cascade of the deletion
    seen = {statement.shape for statement in statements}
    assert seen >= NOT_BY_OWNER.keys()
    assert {Statement(sql, None, 0).shape for sql in (KNOWN, MISSING, MEANS)} <= seen
    assert not Chunk.objects.filter(owner=owner).exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM documents_chunk WHERE document_id = %(document)s",
        "DELETE FROM documents_embedding WHERE document_id = %(document)s",
        "SELECT 1 FROM documents_chunk c JOIN documents_document d ON d.id = c.document_id WHERE d.id = %(document)s",
        "SELECT pg_temp.ownerless(%(document)s)",
    ],
)
def test_a_query_without_an_owner_is_found(owner, processed, sql):
    document = processed(owner, TEXT, "rivers.md")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.ownerless(uuid) RETURNS bigint LANGUAGE plpgsql AS "
            "'BEGIN RETURN (SELECT count(*) FROM documents_chunk WHERE document_id = $1); END'"
        )
        with recorded(plans=True) as statements:
            cursor.execute(sql, {"document": document.id})
    assert re.fullmatch(r"asks \d+ partitions of documents_(chunk|embedding)", *faults(statements).popitem()[1])


@pytest.mark.parametrize("model", [Chunk, Embedding])
def test_a_queryset_without_an_owner_is_found(owner, processed, model):
    document = processed(owner, TEXT, "rivers.md")
    with recorded(plans=True) as statements:
        list(model.objects.filter(document_id=document.id))
    assert faults(statements) != {}
    with recorded(plans=True) as statements:
        list(model.objects.filter(owner=owner, document_id=document.id))
    assert faults(statements) == {}


def test_no_statement_in_the_sources_leaves_the_owner_out():
    wrong = {
        f"{path.relative_to(PROJECT_DIR)}: {text.strip()}"
        for path, text in sql_texts()
        if NAMED.search(text) and "owner_id" not in text and text not in NOT_BY_OWNER
    }
    assert wrong == set()


def sql_texts() -> Iterator[tuple[Path, str]]:
    """Every text in the sources, with what is filled in left out."""
    for app in ("ragsite", "documents", "processing", "chat"):
        for path in (PROJECT_DIR / app).rglob("*.py"):
            if "migrations" in path.parts or "seeding" in path.parts:
                continue
            if NAMED.search(source := path.read_text()):
                for node in ast.walk(ast.parse(source)):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield path, node.value
