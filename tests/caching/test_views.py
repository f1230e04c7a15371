"""What is read again is read from the cache, by its owner alone, and never when it has changed."""

import re
from datetime import UTC, datetime

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.bodies import save_body
from chat.models import Conversation, Message
from chat.services import create_conversation, delete_conversation, update_conversation
from documents import services
from documents.models import Collection, Document
from documents.replacing import replace_document
from ragsite import caching
from ragsite.accounts.models import User

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = re.compile(r'"?(documents_|chat_)')


@pytest.fixture
def library(owner, upload):
    """A processed document in a collection."""
    document = upload(owner, "Some words.", "note.txt")
    Document.objects.filter(id=document.id).update(status="processed", processed_at=datetime.now(UTC))
    collection = Collection(owner=owner, name="Notes")
    services.save_collection(collection=collection)
    services.add_to_collections(owner=owner, documents=[document.id], collections=[collection])
    document.refresh_from_db()
    return document


@pytest.fixture
def talk(owner):
    """A conversation with a question and its answer."""
    begun = create_conversation(owner=owner, title="Talk")
    for role, text in (("user", "Why?"), ("assistant", "Because.")):
        message = Message.objects.create(owner=owner, conversation=begun, role=role)
        save_body(message, text)
    return begun


def rows_read(ask):
    """The statements that read documents or conversations."""
    with CaptureQueriesContext(connection) as queries:
        response = ask()
    assert response.status_code in {200, 304}
    return [query["sql"] for query in queries if ROWS.search(query["sql"])]


def reads(document, talk):
    api = [f"/api/v1/documents/{document.id}", "/api/v1/documents", "/api/v1/collections"]
    return [
        *api,
        f"/api/v1/conversations/{talk.id}",
        "/api/v1/conversations",
        f"/api/v1/conversations/{talk.id}/messages",
    ]


def pages(document, talk):
    return [f"/library/{document.id}/", "/library/", f"/chat/{talk.id}/"]


def test_what_the_api_has_shown_runs_no_statement_on_its_rows_when_shown_again(api, owner, library, talk):
    client = api(owner)
    for address in reads(library, talk):
        first = client.get(address)
        assert rows_read(lambda: client.get(address)) == []  # noqa: B023
        assert client.get(address).content == first.content


def test_a_page_shown_again_runs_no_statement_on_its_rows(signed_in, owner, library, talk):
    client = signed_in(owner)
    for address in pages(library, talk):
        first = client.get(address)
        assert first.status_code == 200, address
        assert rows_read(lambda: client.get(address)) == [], address  # noqa: B023
        assert without_tokens(client.get(address)) == without_tokens(first)


def without_tokens(response):
    return re.sub(r'value="[A-Za-z0-9]{64}"', "", response.content.decode())


def test_the_forms_of_a_kept_page_have_the_readers_own_token(owner, library, talk):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, "django.contrib.auth.backends.ModelBackend")
    client.get(f"/chat/{talk.id}/")
    page = client.get(f"/chat/{talk.id}/").content.decode()
    tokens = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]*)"', page))
    assert len(tokens) == 1
    done = client.post(f"/chat/{talk.id}/pin/", {"csrfmiddlewaretoken": tokens.pop()})
    assert done.status_code == 302


def test_who_has_it_already_is_told_so_without_rows(api, owner, library, talk):
    client = api(owner)
    for address in reads(library, talk):
        etag = client.get(address)["ETag"]
        assert rows_read(lambda: client.get(address, HTTP_IF_NONE_MATCH=etag)) == []  # noqa: B023
        assert client.get(address, HTTP_IF_NONE_MATCH=etag).status_code == 304


def test_no_cache_on_the_way_may_show_it_to_another(api, owner, library, talk, signed_in):
    for address in reads(library, talk):
        response = api(owner).get(address)
        assert response["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "Cookie"} <= set(response["Vary"].split(", "))
    for address in pages(library, talk):
        for _ in range(2):
            assert "no-store" in signed_in(owner).get(address)["Cache-Control"]


def test_the_next_user_of_a_browser_gets_nothing_of_the_last_ones(api, owner, stranger, library, talk, signed_in):
    mine, theirs = api(owner), api(stranger)
    for address in reads(library, talk):
        etag = mine.get(address)["ETag"]
        response = theirs.get(address, HTTP_IF_NONE_MATCH=etag)
        assert response.status_code in {200, 404}
        assert str(library.id) not in response.content.decode()
        assert str(talk.id) not in response.content.decode()
    for address in pages(library, talk):
        signed_in(owner).get(address)
        page = signed_in(stranger).get(address)
        assert "Talk" not in page.content.decode()
        assert "note.txt" not in page.content.decode()


def test_equal_answers_of_two_users_have_different_etags(api, owner, stranger):
    assert api(owner).get("/api/v1/documents")["ETag"] != api(stranger).get("/api/v1/documents")["ETag"]


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_what_is_kept_for_one_never_reaches_another(api, owner, stranger, monkeypatch, mechanism):
    from documents.caching import DOCUMENT_LIST
    from ragsite.caching.registry import Keyspace

    if mechanism == "off":  # a key without the owner
        entry = Keyspace.entry
        monkeypatch.setattr(Keyspace, "entry", lambda space, key: entry(space, {**key, "owner": 0}))
        monkeypatch.setattr(Keyspace, "made_of", lambda space, key: [])
    caching.put(DOCUMENT_LIST, b'{"secret": 1}', owner=owner.pk, url="x")
    found = caching.get(DOCUMENT_LIST, owner=stranger.pk, url="x")
    assert (found is None) is (mechanism == "on")


def shown(client, address):
    return client.get(address).json()


def test_every_change_of_a_conversation_is_seen_at_once(api, owner, talk):
    client, address = api(owner), f"/api/v1/conversations/{talk.id}"
    client.get("/api/v1/conversations"), client.get(address)
    for changes in ({"title": "New"}, {"pinned": True}, {"archived": True}, {"archived": False}, {"style": "short"}):
        client.patch(address, changes)
        for name, value in changes.items():
            assert shown(client, address)[name] == value
            listed = shown(client, f"/api/v1/conversations?archived={str(shown(client, address)['archived']).lower()}")
            assert [entry[name] for entry in listed["results"]] == [value]
    create_conversation(owner=owner, title="Second")
    assert len(shown(client, "/api/v1/conversations")["results"]) == 2
    update_conversation(conversation=talk, changes={"title": "Third"})
    assert shown(client, address)["title"] == "Third"
    delete_conversation(conversation=talk)
    assert client.get(address).status_code == 404
    assert len(shown(client, "/api/v1/conversations")["results"]) == 1


def test_every_change_of_a_document_is_seen_at_once(api, owner, library, upload):
    client, address = api(owner), f"/api/v1/documents/{library.id}"
    collection = Collection.objects.get()
    client.get(address), client.get("/api/v1/documents"), client.get("/api/v1/collections")
    client.patch(address, {"filename": "other.txt"})
    assert shown(client, address)["filename"] == "other.txt"
    assert shown(client, "/api/v1/documents")["results"][0]["filename"] == "other.txt"
    client.patch(address, {"collections": []})
    assert shown(client, address)["collections"] == []
    assert shown(client, "/api/v1/collections")["results"][0]["document_count"] == 0
    services.add_to_collections(owner=owner, documents=[library.id], collections=[collection])
    assert shown(client, address)["collections"] == [str(collection.id)]
    assert shown(client, "/api/v1/collections")["results"][0]["document_count"] == 1
    client.delete(f"/api/v1/collections/{collection.id}")
    assert shown(client, address)["collections"] == []
    assert shown(client, "/api/v1/collections")["results"] == []
    newer = upload(owner, "Other words.", "newer.txt")
    assert len(shown(client, "/api/v1/documents")["results"]) == 2
    replace_document(owner_id=owner.pk, document=newer.id, replaced=library.id)
    assert shown(client, f"/api/v1/documents/{newer.id}")["replaces"] == str(library.id)
    services.reprocess_documents([library])
    assert shown(client, address)["status"] == "uploaded"
    services.delete_documents(owner_id=owner.pk, documents=[library.id])
    assert client.get(address).status_code == 404
    assert len(shown(client, "/api/v1/documents")["results"]) == 1


def test_processing_is_seen_at_once(api, owner, processed):
    document = processed(owner, "Herrings swim.", "fish.txt")
    client = api(owner)
    assert shown(client, f"/api/v1/documents/{document.id}")["status"] == "processed"
    for status in ("uploaded", "embedding", "processed"):
        client.get(f"/api/v1/documents?status={status}")
    services.reprocess_documents([document])
    assert len(shown(client, "/api/v1/documents?status=uploaded")["results"]) == 1
    assert shown(client, "/api/v1/documents?status=processed")["results"] == []
    services.upload_document(owner=owner, file=ContentFile(b"x y", "b.txt"), filename="b.txt")
    assert len(shown(client, "/api/v1/documents?status=uploaded")["results"]) == 2


def test_what_is_in_work_is_not_kept(api, owner, upload, signed_in):
    document = upload(owner)
    for client, address in ((api(owner), f"/api/v1/documents/{document.id}"), (signed_in(owner), "/library/")):
        client.get(address)
        assert rows_read(lambda: client.get(address)) != []  # noqa: B023


def test_a_deleted_document_is_gone_from_the_conversations_that_cite_it(api, owner, library, talk):
    client, address = api(owner), f"/api/v1/conversations/{talk.id}"
    client.patch(address, {"documents": [str(library.id)]})
    assert shown(client, address)["documents"] == [str(library.id)]
    services.delete_documents(owner_id=owner.pk, documents=[library.id])
    assert shown(client, address)["documents"] == []
    assert shown(client, "/api/v1/conversations")["results"][0]["documents"] == []


def test_pages_tell_once_what_they_tell_once(signed_in, owner, talk):
    client = signed_in(owner)
    client.get(f"/chat/{talk.id}/")
    client.post(f"/chat/{talk.id}/archive/")
    assert "is archived" in client.get(f"/chat/{talk.id}/").content.decode()
    assert "is archived" not in client.get(f"/chat/{talk.id}/").content.decode()


def test_a_renamed_user_sees_the_new_name(signed_in, owner, talk):
    signed_in(owner).get(f"/chat/{talk.id}/")
    User.objects.filter(pk=owner.pk).update(username="renamed")
    assert "renamed" in signed_in(owner).get(f"/chat/{talk.id}/").content.decode()


@pytest.mark.parametrize(
    "fault", ["stop", pytest.param("freeze", marks=pytest.mark.slow), pytest.param("slow", marks=pytest.mark.slow)]
)
def test_every_page_works_while_valkey_does_not(fault, own_valkey, api, owner, library, talk, signed_in, request):
    client, browser = api(owner), signed_in(owner)
    if fault == "slow":
        request.getfixturevalue("slow_valkey")
    else:
        getattr(own_valkey, fault)()
    for address in reads(library, talk):
        assert client.get(address).status_code == 200
    for address in pages(library, talk):
        assert browser.get(address).status_code == 200
    client.patch(f"/api/v1/conversations/{talk.id}", {"title": "Changed meanwhile"})
    assert shown(client, f"/api/v1/conversations/{talk.id}")["title"] == "Changed meanwhile"
    assert Conversation.objects.get().title == "Changed meanwhile"
