"""An answer is given again to who has asked before, until something that made it has changed."""

import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.models import Message
from documents import caching as kept
from documents import services
from documents.models import Collection
from ragsite import caching

pytestmark = pytest.mark.django_db(transaction=True)
QUESTION = "How high is the tower of Ulm?"
TOWER = "The tower of Ulm is 161 metres high. It was built for centuries."


@pytest.fixture
def tower(owner, processed):
    return processed(owner, TOWER, "tower.txt")


def ask(client, content=QUESTION, **values):
    """In a conversation of its own."""
    begun = client.post("/api/v1/conversations", {}).json()
    response = client.post(f"/api/v1/conversations/{begun['id']}/messages", {"content": content, **values})
    assert response.status_code == 201, response.content
    return response.json()


def test_the_same_question_gets_the_same_answer_from_the_cache(api, owner, tower):
    client = api(owner)
    first, second = ask(client), ask(client)
    assert (first["cached"], second["cached"]) == (False, True)
    assert "161" in second["content"] == first["content"] or second["content"] == first["content"]
    assert second["citations"] == first["citations"] != []
    assert Message.objects.get(id=second["id"]).cached
    assert client.get(f"/api/v1/messages/{second['id']}").json()["cached"]


def test_who_wants_a_fresh_one_gets_it(api, owner, tower):
    client = api(owner)
    ask(client)
    assert not ask(client, fresh=True)["cached"]
    assert ask(client)["cached"]


def test_another_ones_answer_is_nobody_elses(api, owner, stranger, tower, processed):
    ask(api(owner))
    theirs = ask(api(stranger))
    assert not theirs["cached"]
    assert "161" not in theirs["content"]


@pytest.mark.parametrize(
    "change", ["another", "renamed", "collected", "reprocessed", "scope", "style", "question", "history"]
)
def test_whatever_makes_an_answer_makes_it_anew(api, owner, tower, processed, change):
    client, more = api(owner), {}
    ask(client)
    if change == "another":
        processed(owner, "Another tower.", "another.txt")
    elif change == "renamed":
        services.rename_document(document=tower, filename="minster.txt")
    elif change == "collected":
        collection = Collection(owner=owner, name="Towers")
        services.save_collection(collection=collection)
    elif change == "reprocessed":
        services.reprocess_documents([tower])
        processed(owner, "Another tower.", "another.txt")
    elif change == "scope":
        more = {"documents": [str(tower.id)]}
    elif change == "style":
        more = {"style": "short"}
    if change == "history":
        begun = client.post("/api/v1/conversations", {}).json()["id"]
        for cached in (True, False):
            response = client.post(f"/api/v1/conversations/{begun}/messages", {"content": QUESTION})
            assert response.json()["cached"] is cached
        return
    assert not ask(client, QUESTION + " Now?" if change == "question" else QUESTION, **more)["cached"]


@pytest.mark.parametrize("mechanism", ["on", "off"])
def test_of_a_deleted_document_no_answer_and_no_passage_is_left(api, owner, tower, monkeypatch, mechanism):
    client = api(owner)
    ask(client)
    assert client.post("/api/v1/search", {"query": QUESTION}).json()["results"] != []
    if mechanism == "off":
        monkeypatch.setattr(kept, "changed", lambda *_things: None)
    services.delete_documents(owner_id=owner.pk, documents=[tower.id])
    found = client.post("/api/v1/search", {"query": QUESTION}).json()["results"]
    answer = ask(client)
    if mechanism == "on":
        assert (found, answer["cached"]) == ([], False)
        assert "161" not in answer["content"]
    else:
        assert found != []
        assert answer["cached"]


def test_a_search_made_again_reads_no_passage(api, owner, tower):
    client = api(owner)
    first = client.post("/api/v1/search", {"query": QUESTION})
    with CaptureQueriesContext(connection) as queries:
        again = client.post("/api/v1/search", {"query": QUESTION})
    assert again.content == first.content
    assert [query["sql"] for query in queries if "documents_chunk" in query["sql"]] == []


def test_a_question_is_embedded_once(api, owner, tower, fake_encoder, monkeypatch):
    asked = []
    embed = fake_encoder.embed_query
    monkeypatch.setattr(fake_encoder, "embed_query", lambda text: asked.append(text) or embed(text))
    client = api(owner)
    for limit in (1, 2, 3):
        client.post("/api/v1/search", {"query": QUESTION, "limit": limit})
    assert asked == [QUESTION]


def test_an_answer_from_words_alone_is_not_kept(api, owner, tower, fake_encoder):
    client = api(owner)
    fake_encoder.down = True
    ask(client)
    fake_encoder.down = False
    assert not ask(client)["cached"]


def test_a_load_test_may_switch_it_off(api, owner, tower, settings):
    settings.CACHES_OFF = {"answers"}
    client = api(owner)
    assert [ask(client)["cached"] for _ in range(2)] == [False, False]


def test_a_page_shows_that_an_answer_was_kept_and_how_to_ask_anew(api, owner, tower, signed_in):
    client, browser = api(owner), signed_in(owner)
    ask(client)
    answer = ask(client)
    page = browser.get(f"/chat/{answer['conversation']}/").content.decode()
    assert "From the cache" in page
    browser.post(f"/chat/messages/{answer['id']}/again/")
    answers = Message.objects.filter(conversation=answer["conversation"], role="assistant").order_by("created_at")
    deadline = time.monotonic() + 30
    while answers.running().exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [entry.cached for entry in answers] == [True, False]


def test_what_a_question_finds_is_kept_with_its_library(owner, tower):
    from documents.search import Scope
    from documents.search.kept import query_vector, rank

    scope, vector = Scope(owner.pk), query_vector(owner.pk, QUESTION)
    first = rank(scope, QUESTION, vector, 5)
    assert rank(scope, QUESTION, vector, 5) == first
    assert caching.statistics()["retrieval"].hits > 0
