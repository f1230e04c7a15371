"""`manage.py seed`: made libraries and conversations that the site takes for real ones."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from chat.management.commands.seed import LOCK
from chat.models import Citation, Conversation, Message
from documents.models import Chunk, Document, DocumentText, Embedding
from documents.vectors import index_name
from ragsite.accounts.models import User

SIZES = {"owners": 3, "documents": 30, "chunks": 120, "conversations": 20, "messages": 80}


@pytest.fixture
def seed(transactional_db, capsys):
    def run(**options):
        call_command("seed", **(SIZES | options))
        return capsys.readouterr().out

    return run


def counted():
    return [model.objects.count() for model in (User, Document, Chunk, Conversation, Message)]


def test_seeding_makes_so_many_and_again_only_what_is_missing(seed):
    seed()
    assert counted() == [3, 30, 120, 20, 80]
    seed()
    assert counted() == [3, 30, 120, 20, 80]
    Document.objects.filter(id__in=Document.objects.values("id")[:10]).delete()
    seed(messages=100, conversations=25)
    assert counted() == [3, 30, 120, 25, 100]


def test_what_was_made_is_read_by_its_owner(seed, api):
    accounts = json.loads(seed(tokens=2))
    assert [account["username"] for account in accounts] == ["seed-00001", "seed-00002"]
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {accounts[0]['token']}")
    documents = client.get("/api/v1/documents").json()["results"]
    assert client.get(f"/api/v1/documents/{documents[0]['id']}").status_code == 200
    conversation = Conversation.objects.filter(owner=accounts[0]["id"]).first()
    assert client.get(f"/api/v1/conversations/{conversation.id}").status_code == 200


def test_chunks_and_quotes_stand_in_the_texts_at_their_offsets(seed):
    seed()
    texts = dict(DocumentText.objects.values_list("document_id", "text"))
    for chunk in Chunk.objects.all():
        assert texts[chunk.document_id][chunk.start : chunk.end] == chunk.text
    assert Citation.objects.exists()
    for citation in Citation.objects.all():
        assert texts[citation.document_id][citation.start : citation.end] == citation.quote


def test_the_first_accounts_have_most(seed):
    seed(documents=200, chunks=200)
    owners = User.objects.order_by("id")
    assert owners[0].documents.count() > owners[2].documents.count()


def test_accounts_have_the_password_that_was_given(seed, client):
    seed(password="known to the load test")
    assert client.login(username="seed-00003", password="known to the load test")


def test_without_a_password_nobody_can_sign_in(seed):
    seed()
    assert not User.objects.first().has_usable_password()


def test_indexes_that_a_killed_seeding_left_out_are_made_again(seed):
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX chunk_words_gin")
        seed()
        cursor.execute("SELECT to_regclass('chunk_words_gin') IS NOT NULL")
        assert cursor.fetchone()[0]


def test_two_at_once_are_refused(seed):
    other = connections.create_connection("default")
    try:
        other.cursor().execute(LOCK)
        with pytest.raises(CommandError, match="Another seeding"):
            seed()
    finally:
        other.close()


def test_with_embeddings_each_chunk_has_its_sentences_and_their_mean(seed, fake_encoder):
    seed(embeddings=True, documents=3, chunks=9)
    parts = Embedding.objects.values_list("document_id", "position", "part")
    assert len(parts) == 9 * 6
    texts = dict(DocumentText.objects.values_list("document_id", "text"))
    first = Embedding.objects.filter(position=1, part=1).first()
    assert texts[first.document_id][first.start : first.end].endswith(".")
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(l2_norm(vector)), max(vector_dims(vector)) FROM documents_embedding")
        assert cursor.fetchone() == (pytest.approx(1, abs=0.01), fake_encoder.dimensions)
        cursor.execute("SELECT to_regclass(%s)", [index_name(first.model)])
        assert cursor.fetchone()[0] is not None
