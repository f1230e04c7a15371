"""Vectors of another model, or made in another way, give way to those of the present one."""

import pytest
from django.db import connection

from documents.models import Document, Embedding, EmbeddingModel
from documents.search import Scope, search
from processing import pipeline
from processing.renewal import renew_vectors

TEXT = (
    "# Rivers\n\nThe Danube flows through Vienna and Budapest to the Black Sea.\n\nThe Rhine flows to the North Sea.\n"
)


def models_of(document: Document) -> set[str]:
    rows = Embedding.objects.filter(owner=document.owner_id, document_id=document.id)
    return set(rows.values_list("model__name", flat=True))


@pytest.fixture
def old(owner, processed, settings) -> Document:
    """A document that was embedded as whole chunks, before the site embedded sentences."""
    settings.EMBEDDED_PARTS = 1
    document = processed(owner, TEXT, "rivers.md")
    settings.EMBEDDED_PARTS = 8
    with connection.cursor() as cursor:  # an index cannot be made in a transaction with checks still to be done
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert models_of(document) == {"multilingual-e5-small"}
    return document


def test_an_old_document_is_found_by_meaning_before_it_is_renewed(owner, old):
    (hit,) = search(Scope(owner.pk), "Danube")
    assert hit.meaning > 0


@pytest.mark.django_db(transaction=True)  # Citus makes no index in a transaction that goes on with other tables
def test_old_vectors_are_renewed_and_then_their_model_is_forgotten(owner, old):
    old_model = EmbeddingModel.objects.get()
    assert renew_vectors() == 1
    assert Document.objects.get().searchable
    while pipeline.process_next():
        pass
    assert Document.objects.get().status == "processed"
    assert models_of(old) == {"multilingual-e5-small/sentences"}
    assert renew_vectors() == 0
    assert EmbeddingModel.objects.get().name == "multilingual-e5-small/sentences"
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"documents_embedding_hnsw_{old_model.id}"])
        assert cursor.fetchone() == (None,)
    (hit,) = search(Scope(owner.pk), "Danube")
    assert "Danube" in TEXT[hit.sentence_start : hit.sentence_end]


def test_while_anything_else_is_in_work_nothing_is_renewed(owner, old, upload):
    upload(owner, "Something new.", "new.txt")
    assert renew_vectors() == 0


def test_half_renewed_documents_are_found_by_whichever_vectors_they_have(owner, old, fake_encoder):
    renew_vectors()
    fake_encoder.down = True
    pipeline.process_next()
    fake_encoder.down = False
    (hit,) = search(Scope(owner.pk), "Danube")
    assert hit.meaning > 0
    assert models_of(old) == {"multilingual-e5-small"}


def test_nothing_is_renewed_where_all_is_of_the_present_model(owner, processed):
    processed(owner, TEXT, "rivers.md")
    assert renew_vectors() == 0
    assert EmbeddingModel.objects.count() == 1
