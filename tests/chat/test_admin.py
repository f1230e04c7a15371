"""Conversations in the admin: to look at, their words only with a permission."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from chat.bodies import body_of
from chat.models import Citation, Conversation, Message, MessageBody, RetrievalTrace
from documents.models import Document
from ragsite.accounts.models import User

pytestmark = pytest.mark.django_db

SignedIn = Callable[[User], Client]
MODELS = ("conversation", "message", "citation")


@pytest.fixture
def clerk(db: None) -> User:
    """Staff who may look at rows and not read what they say."""
    user = User.objects.create_user("clerk", "clerk@example.com", "x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"view_{model}" for model in MODELS]))
    return user


@pytest.fixture
def rows(owner: User, upload: Callable[..., Document]) -> dict[str, Any]:
    return make_rows(owner, upload(owner, "secret words"), 1)


def make_rows(owner: User, document: Document, count: int) -> dict[str, Any]:
    for _ in range(count):
        conversation = Conversation.objects.create(owner=owner, title="A secret title")
        message = Message.objects.create(owner=owner, conversation=conversation, role="assistant")
        MessageBody.objects.bulk_create([body_of(message, "A secret text")])
        RetrievalTrace.objects.create(owner=owner, message=message, query="A secret query")
        citation = Citation.objects.create(
            owner=owner,
            message=message,
            marker=1,
            document_id=document.id,
            filename="secret.txt",
            start=0,
            end=6,
            quote="A secret quote",
        )
    return {"conversation": conversation, "message": message, "citation": citation}


@pytest.mark.parametrize("model", MODELS)
def test_words_are_hidden_without_the_permission(
    clerk: User, rows: dict[str, Any], signed_in: SignedIn, model: str
) -> None:
    client = signed_in(clerk)
    for path in (
        f"/admin/chat/{model}/",
        f"/admin/chat/{model}/{rows[model].pk}/change/",
        f"/admin/chat/{model}/?q=secret",
    ):
        response = client.get(path)
        assert response.status_code == 200, path
        assert "A secret" not in response.content.decode()
        assert "secret.txt" not in response.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "conversation/?title__startswith=A",
        "message/?error_detail__contains=A",
        "message/?body__content__contains=secret",
        "message/?trace__query__contains=secret",
        "citation/?quote__startswith=A",
        "citation/?filename__startswith=s",
        "citation/?message__conversation__title__startswith=A",
        "citation/?owner__password__startswith=p",
    ],
)
def test_the_address_of_a_list_answers_no_question_about_words(
    clerk: User, rows: dict[str, Any], signed_in: SignedIn, query: str
) -> None:
    assert signed_in(clerk).get(f"/admin/chat/{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["conversation/?pinned__exact=0", "message/?status__exact=done&role__exact=user", "message/?engine=x"]
)
def test_the_filters_of_a_list_work(clerk: User, rows: dict[str, Any], signed_in: SignedIn, query: str) -> None:
    assert signed_in(clerk).get(f"/admin/chat/{query}").status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_words_are_shown_with_the_permission(
    clerk: User, rows: dict[str, Any], signed_in: SignedIn, model: str
) -> None:
    clerk.user_permissions.add(Permission.objects.get(codename="view_message_text"))
    page = signed_in(clerk).get(f"/admin/chat/{model}/{rows[model].pk}/change/").content.decode()
    assert "A secret" in page


@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_written_even_by_an_administrator(
    staff: User, rows: dict[str, Any], signed_in: SignedIn, model: str
) -> None:
    client = signed_in(staff)
    assert client.get(f"/admin/chat/{model}/add/").status_code == 403
    assert client.post(f"/admin/chat/{model}/{rows[model].pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"/admin/chat/{model}/{rows[model].pk}/change/", {"title": "x"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_lists_take_the_same_queries_for_any_number_of_rows(
    staff: User, owner: User, upload: Any, signed_in: SignedIn, django_assert_max_num_queries: Any, model: str
) -> None:
    document = upload(owner, "secret words")
    client = signed_in(staff)
    for count in (2, 20):
        make_rows(owner, document, count)
        with django_assert_max_num_queries(4):  # session, user; count to a bound; rows with owners
            assert client.get(f"/admin/chat/{model}/").status_code == 200


def test_an_owner_who_is_no_staff_cannot_enter(owner: User, signed_in: SignedIn) -> None:
    assert signed_in(owner).get("/admin/chat/message/").status_code == 302
