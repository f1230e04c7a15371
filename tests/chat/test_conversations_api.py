"""Conversations: rows of their owner."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from chat.bodies import body_of
from chat.models import Citation, Conversation, Message, MessageBody
from chat.searching import searched
from chat.serializers import ConversationSerializer, MessageSerializer
from chat.services import title_from
from documents.models import Collection, Document
from ragsite.accounts.models import User
from tests.chat.conftest import new_conversation
from tests.queries.plans import summary
from tests.queries.recording import recorded

pytestmark = pytest.mark.django_db

Client = Callable[..., APIClient]
URL = "/api/v1/conversations"


def said(conversation: Conversation, content: str, role: str = "user") -> Message:
    message = Message.objects.create(owner=conversation.owner, conversation=conversation, role=role)
    MessageBody.objects.bulk_create([body_of(message, content)])
    return message


def titles(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [entry["title"] for entry in response.json()["results"]]


def test_a_conversation_is_made_changed_and_deleted(owner: User, api: Client) -> None:
    client = api(owner)
    made = client.post(URL, {"title": "Rivers"}).json()
    assert made["title"] == "Rivers"
    assert (made["pinned"], made["archived"], made["documents"], made["collections"]) == (False, False, None, None)
    changed = client.patch(f"{URL}/{made['id']}", {"title": "Big rivers", "pinned": True, "archived": True}).json()
    assert (changed["title"], changed["pinned"], changed["archived"]) == ("Big rivers", True, True)
    assert changed["updated_at"] == made["updated_at"], "looking after it is no activity"
    assert client.patch(f"{URL}/{made['id']}", {"archived": False}).json()["archived"] is False
    assert client.delete(f"{URL}/{made['id']}").status_code == 204
    assert client.get(f"{URL}/{made['id']}").status_code == 404


def test_representations_have_the_fields_of_the_schema(owner: User, api: Client) -> None:
    client = api(owner)
    shown = client.get(f"{URL}/{new_conversation(client)}").json()
    assert set(shown) == {*ConversationSerializer().fields, "messages"}
    message = said(Conversation.objects.get(), "Hello")
    assert set(client.get(f"/api/v1/messages/{message.id}").json()) == set(MessageSerializer().fields)


def test_scopes_are_ones_own_documents_and_collections(owner: User, stranger: User, api: Client, upload: Any) -> None:
    client = api(owner)
    mine, theirs = upload(owner, "mine"), upload(stranger, "theirs")
    collection = Collection.objects.create(owner=owner, name="Papers")
    made = client.post(URL, {"documents": [str(mine.id)], "collections": [str(collection.id)]}).json()
    assert (made["documents"], made["collections"]) == ([str(mine.id)], [str(collection.id)])
    refused = client.patch(f"{URL}/{made['id']}", {"documents": [str(theirs.id)]})
    assert refused.status_code == 404
    assert "documents" in refused.json()["errors"]
    only = client.patch(f"{URL}/{made['id']}", {"documents": []}).json()
    assert (only["documents"], only["collections"]) == (None, [str(collection.id)])
    assert client.patch(f"{URL}/{made['id']}", {"collections": None}).json()["collections"] is None


def test_a_scope_whose_documents_are_gone_never_becomes_the_whole_library(
    owner: User, api: Client, upload: Any
) -> None:
    client, document = api(owner), upload(owner, "gone")
    made = client.post(URL, {"documents": [str(document.id)]}).json()
    client.delete(f"/api/v1/documents/{document.id}")
    changed = client.patch(f"{URL}/{made['id']}", {"collections": None}).json()
    assert (changed["documents"], changed["collections"]) == ([], None)
    assert Conversation.objects.get().scope_documents == [document.id]
    assert client.patch(f"{URL}/{made['id']}", {"documents": None}).json()["documents"] is None


@pytest.mark.parametrize(
    "values", [{"title": "x" * 201}, {"documents": ["no id"]}, {"documents": "x"}, {"collections": [None]}]
)
def test_bad_input_is_refused_by_field(owner: User, api: Client, values: dict[str, Any]) -> None:
    response = api(owner).post(URL, values)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert any(name.startswith(next(iter(values))) for name in response.json()["errors"])


def test_strangers_deactivated_and_anonymous_callers_see_nothing(owner: User, stranger: User, api: Client) -> None:
    client = api(owner)
    path = f"{URL}/{new_conversation(client, title='Mine')}"
    assert titles(api(stranger).get(URL)) == []
    for method in ("get", "patch", "delete"):
        assert getattr(api(stranger), method)(path, {"title": "Theirs"}).status_code == 404
        assert getattr(api(), method)(path).status_code == 401
    assert api(owner, ["read"]).patch(path, {"title": "x"}).status_code == 403
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert client.get(URL).status_code == 401
    assert Conversation.objects.get().title == "Mine"


def test_the_list_is_newest_activity_first_and_pages_by_keyset(owner: User, api: Client) -> None:
    client = api(owner)
    for number in range(5):
        new_conversation(client, title=str(number))
    Conversation.objects.filter(title="1").update(updated_at=timezone.now())
    first = client.get(URL, {"page_size": 3})
    assert titles(first) == ["1", "4", "3"]
    second = client.get(first.json()["next"])
    assert titles(second) == ["2", "0"]
    assert second.json()["next"] is None
    assert titles(client.get(second.json()["previous"])) == ["1", "4", "3"]


def test_archived_ones_are_listed_only_when_asked_for(owner: User, api: Client) -> None:
    client = api(owner)
    for title, values in (("plain", {}), ("pinned", {"pinned": True}), ("archived", {"archived": True})):
        client.patch(f"{URL}/{new_conversation(client, title=title)}", values)
    assert titles(client.get(URL)) == ["pinned", "plain"]
    assert titles(client.get(URL, {"archived": "true"})) == ["archived"]
    assert titles(client.get(URL, {"archived": "false"})) == ["pinned", "plain"]
    assert titles(client.get(URL, {"pinned": "true"})) == ["pinned"]
    assert titles(client.get(URL, {"search": "archived"})) == ["archived"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("rhine", ["About rivers"]),
        ("RIVERS", ["About rivers"]),
        ("riv abo", ["About rivers"]),
        ("kilometr rhi", ["About rivers"]),
        ("東京", ["日本"]),
        ("首都", ["日本"]),
        ("rhine tower", []),
        ("'; drop table --", []),
        ("!!!", []),
        ("don't", ["Quotes"]),
    ],
)
def test_a_search_finds_words_of_titles_and_messages(owner: User, api: Client, query: str, found: list[str]) -> None:
    client = api(owner)
    rivers = Conversation.objects.create(owner=owner, title="About rivers")
    said(rivers, "How many kilometres has the Rhine?")
    said(Conversation.objects.create(owner=owner, title="日本"), "東京は日本の首都です。")
    said(Conversation.objects.create(owner=owner, title="Quotes"), "I don't know <b>it</b>")
    said(Conversation.objects.create(owner=owner, title="Towers"), "The tower of Pisa leans.")
    assert titles(client.get(URL, {"search": query})) == found


def test_a_search_sees_nothing_of_others(owner: User, stranger: User, api: Client) -> None:
    said(Conversation.objects.create(owner=owner, title="Secret rivers"), "The Rhine")
    for query in ("secret", "rhine"):
        assert titles(api(stranger).get(URL, {"search": query})) == []


def test_search_reads_the_word_indexes(owner: User) -> None:
    from django.db import connection

    conversation = Conversation.objects.create(owner=owner)
    asked = [Message(owner=owner, conversation=conversation, role="user") for _ in range(300)]
    MessageBody.objects.bulk_create(body_of(row, "Where is it?") for row in Message.objects.bulk_create(asked))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_messagebody")
    with recorded(plans=True) as statements:
        list(searched(Conversation.objects.for_user(owner), owner, "rhine"))
    assert "messagebody_words_gin" in summary(statements[0])


def test_messages_are_paged_in_their_order(owner: User, api: Client) -> None:
    conversation = Conversation.objects.create(owner=owner)
    for number in range(5):
        said(conversation, str(number))
    client = api(owner)
    page = client.get(f"{URL}/{conversation.id}", {"page_size": 2}).json()["messages"]
    assert [message["content"] for message in page["results"]] == ["0", "1"]
    page = client.get(page["next"]).json()["messages"]
    assert [message["content"] for message in page["results"]] == ["2", "3"]
    newest = client.get(f"{URL}/{conversation.id}/messages", {"ordering": "-created_at", "page_size": 1}).json()
    assert newest["results"][0]["content"] == "4"


@pytest.mark.parametrize("count", [2, 20])
def test_lists_take_the_same_queries_for_any_number_of_rows(
    owner: User, api: Client, upload: Any, django_assert_num_queries: Any, count: int
) -> None:
    client = api(owner)
    document = upload(owner, "text")
    collection = Collection.objects.create(owner=owner, name="Papers")
    for _ in range(count):
        conversation = Conversation.objects.create(
            owner=owner, scope_documents=[document.id], scope_collections=[collection.id]
        )
    for _ in range(count):
        answer = said(conversation, "x [1]", "assistant")
        Citation.objects.create(owner=owner, message=answer, marker=1, document_id=document.id, start=0, end=4)
    client.get(URL)  # the token's use is noted once a minute
    with django_assert_num_queries(4):  # token; conversations; documents and collections of their scopes
        assert len(client.get(URL).json()["results"]) == count
    with django_assert_num_queries(4):  # token; conversation; messages with bodies; citations
        assert len(client.get(f"{URL}/{conversation.id}/messages").json()["results"]) == count


def test_deleting_a_user_takes_all_along(owner: User, upload: Any) -> None:
    document = upload(owner, "text")
    answer = said(Conversation.objects.create(owner=owner), "x", "assistant")
    Citation.objects.create(
        owner=owner, message=answer, marker=1, document_id=document.id, start=0, end=4, quote="text"
    )
    owner.delete()
    for model in (Conversation, Message, MessageBody, Citation, Document):
        assert not model.objects.exists()


def test_a_message_cannot_be_in_somebody_elses_conversation(owner: User, stranger: User) -> None:
    from django.db import IntegrityError

    theirs = Conversation.objects.create(owner=stranger)
    with pytest.raises(IntegrityError, match="chat_message_conversation_fk"):
        Message.objects.create(owner=owner, conversation=theirs, role="user")


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How long is the Rhine?", "How long is the Rhine?"),
        ("  Two\n lines\t", "Two lines"),
        ("word " * 40, "word " * 15 + "word…"),
        ("x" * 300, "x" * 80 + "…"),
        ("長" * 100, "長" * 80 + "…"),
    ],
    ids=["short", "white space", "words", "one word", "unspaced"],
)
def test_a_title_is_the_beginning_of_the_question_cut_at_a_word(question: str, title: str) -> None:
    assert title_from(question) == title
