"""The chat's pages: as owner, stranger and anonymous; with and without JavaScript; always as many queries."""

import re
import threading
import uuid
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.settings import api_settings

from chat import services
from chat.answers import producer
from chat.answers.board import board
from chat.bodies import save_body
from chat.models import Citation, Conversation, Message
from chat.rendering import answer_html
from documents.models import Collection
from documents.search import Scope
from tests.chat.conftest import QUESTION, wait_for

HTMX = {"HTTP_HX_REQUEST": "true"}
CONVERSATION_PAGES = [
    ("get", "chat-conversation"),
    ("post", "chat-ask-in"),
    ("get", "chat-scope-of"),
    ("post", "chat-scope-of"),
    ("get", "chat-rename"),
    ("post", "chat-rename"),
    ("post", "chat-pin"),
    ("post", "chat-archive"),
    ("get", "chat-delete"),
    ("post", "chat-delete"),
]
MESSAGE_PAGES = [("get", "chat-message"), ("post", "chat-stop"), ("post", "chat-again")]
OTHER_PAGES = [("get", "chat"), ("post", "chat-ask"), ("get", "chat-list"), ("get", "chat-scope")]


@pytest.fixture
def site(owner, signed_in) -> Client:
    return signed_in(owner)


@pytest.fixture
def talk(owner) -> Conversation:
    return services.create_conversation(owner=owner, title="About rivers")


def said(conversation: Conversation, status: str = "complete", content: str = "", **values) -> Message:
    """An answer as it stands in the database, after its question."""
    question = Message.objects.create(owner=conversation.owner, conversation=conversation, role="user")
    message = Message.objects.create(
        owner=conversation.owner, conversation=conversation, role="assistant", status=status, **values
    )
    save_body(question, QUESTION)
    if content:
        save_body(message, content)
    return message


def cited(message: Message, marker: int = 1, document=None, **values) -> Citation:
    values = {"filename": "rhine.md", "quote": "It is long.", "verified": True, **values} if document else {}
    owner = message.owner
    return Citation.objects.create(
        owner=owner, message=message, marker=marker, document_id=document and document.id, start=5, end=16, **values
    )


def finish() -> None:
    """Wait for the answers that run."""
    wait_for(lambda: not len(board()))


@pytest.mark.parametrize(("method", "name"), CONVERSATION_PAGES)
def test_a_strangers_conversation_is_nowhere(method, name, talk, stranger, signed_in):
    client = signed_in(stranger)
    response = getattr(client, method)(reverse(name, args=[talk.id]), {"content": "Hello?", "title": "Mine"})
    assert response.status_code == 404
    assert b"About rivers" not in response.content
    talk.refresh_from_db()
    assert (talk.title, talk.pinned, talk.archived_at) == ("About rivers", False, None)
    assert not Message.objects.exists()


@pytest.mark.parametrize(("method", "name"), MESSAGE_PAGES)
def test_a_strangers_message_is_nowhere(method, name, talk, stranger, signed_in):
    message = said(talk, "stopped", "A secret.")
    response = getattr(signed_in(stranger), method)(reverse(name, args=[message.id]), **HTMX)
    assert response.status_code == 404
    assert b"A secret." not in response.content
    assert Message.objects.count() == 2


@pytest.mark.parametrize(("method", "name"), [*CONVERSATION_PAGES, *MESSAGE_PAGES, *OTHER_PAGES])
def test_the_anonymous_are_asked_to_sign_in(method, name, client):
    path = reverse(name, args=[] if (method, name) in OTHER_PAGES else [uuid.uuid4()])
    response = getattr(client, method)(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize(("method", "name"), [page for page in CONVERSATION_PAGES if page[0] == "get"])
def test_every_page_of_a_conversation_opens_whole_and_as_a_fragment(method, name, talk, site):
    path = reverse(name, args=[talk.id])
    whole, part = site.get(path), site.get(path, **HTMX)
    assert (whole.status_code, part.status_code) == (200, 200)
    assert "<html" in whole.content.decode()
    assert "<html" not in part.content.decode()


def test_the_address_that_people_guess_leads_to_the_chat(site):
    response = site.get("/chat/?q=1")
    assert (response.status_code, response["Location"]) == (302, "/?q=1")


def test_with_an_empty_library_the_chat_invites_to_upload(site):
    page = site.get("/").content.decode()
    assert "Put a document in, then ask it" in page
    assert 'type="file"' in page


def test_without_javascript_a_question_leads_to_a_page_that_waits_for_its_answer(library, site):
    response = site.post("/chat/ask/", {"content": QUESTION})
    talk = Conversation.objects.get()
    assert response["Location"] == f"/chat/{talk.id}/"
    finish()
    page = site.get(response["Location"]).content.decode()
    assert "flows through Basel" in page
    assert "http-equiv" not in page
    citation = Citation.objects.get()
    assert f'href="#citation-{citation.message_id}-1"' in page
    assert f'id="citation-{citation.message_id}-1"' in page
    assert f"/library/{library['rhine'].id}/?start={citation.start}&amp;end={citation.end}" in page


def test_a_running_answer_is_followed_by_script_or_by_looking_again(talk, site):
    message = said(talk, "running")
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert f'data-events="/api/v1/messages/{message.id}/events"' in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page


def test_htmx_gets_the_question_and_its_running_answer(library, talk, site):
    page = site.post(f"/chat/{talk.id}/ask/", {"content": QUESTION}, **HTMX).content.decode()
    assert QUESTION in page
    assert "data-events=" in page
    assert "<html" not in page


def test_a_question_while_an_answer_is_written_is_told_to_wait(talk, site):
    said(talk, "running")
    response = site.post(f"/chat/{talk.id}/ask/", {"content": "And now?"}, **HTMX)
    assert response["HX-Redirect"] == f"/chat/{talk.id}/"
    assert "being written here already" in site.get(f"/chat/{talk.id}/").content.decode()


def test_who_asks_too_often_is_told_and_keeps_the_question(library, talk, site, owner, api, monkeypatch):
    monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, "messages", "1/min")
    assert api(owner).post(f"/api/v1/conversations/{talk.id}/messages", {"content": QUESTION}).status_code == 201
    here = {"content": "And <now>?", "next": f"/chat/{talk.id}/"}
    response = site.post(f"/chat/{talk.id}/ask/", here, **HTMX)
    assert response["HX-Redirect"] == f"/chat/{talk.id}/"
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert "many questions in a short time" in page
    assert ">And &lt;now&gt;?</textarea>" in page
    assert "now" not in site.get(f"/chat/{talk.id}/").content.decode().partition("<textarea")[2].partition("</")[0]
    page = site.post("/chat/ask/", {"content": "Of all?"}, follow=True).content.decode()
    assert ">Of all?</textarea>" in page
    answer = Message.objects.get(role="assistant")
    page = site.post(f"/chat/messages/{answer.id}/again/", follow=True).content.decode()
    assert f">{QUESTION}</textarea>" in page
    assert Conversation.objects.count() == 1
    assert Message.objects.count() == 2


def test_a_question_that_finds_all_busy_is_kept_in_the_box(talk, site, monkeypatch):
    monkeypatch.setattr("chat.answers.producer._free_slots", threading.BoundedSemaphore(1))
    with producer.reserved():
        page = site.post("/chat/ask/", {"content": "Of all?"}, follow=True).content.decode()
    assert "Many questions are being answered" in page
    assert ">Of all?</textarea>" in page


@pytest.mark.parametrize("content", ["", "   ", "x" * 20_001])
def test_no_question_and_one_too_long_are_told(content, site):
    response = site.post("/chat/ask/", {"content": content}, follow=True)
    assert len(list(response.context["messages"])) == 1
    assert not Conversation.objects.exists()


def test_the_scope_of_a_new_chat_stands_in_the_address_and_is_kept(owner, stranger, library, processed, site):
    theirs = processed(stranger, "Theirs.", "theirs.md")
    mine = library["rhine"]
    page = site.get(f"/?documents={mine.id}&documents={theirs.id}&documents=odd").content.decode()
    assert "rhine.md" in page
    assert "theirs.md" not in page
    site.post("/chat/ask/", {"content": QUESTION, "documents": [str(mine.id), str(theirs.id)]})
    assert Conversation.objects.get().scope_documents == [mine.id]


def test_the_scope_of_a_conversation_is_changed_and_opened_again(owner, library, talk, site):
    collection = Collection.objects.create(owner=owner, name="Travel")
    path = reverse("chat-scope-of", args=[talk.id])
    site.post(path, {"collections": str(collection.id), "documents": str(library["tower"].id)})
    talk.refresh_from_db()
    assert (talk.scope_collections, talk.scope_documents) == ([collection.id], [library["tower"].id])
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert "Travel" in page
    assert "tower.md" in page
    site.post(path, {})
    talk.refresh_from_db()
    assert (talk.scope_collections, talk.scope_documents) == (None, None)


def test_documents_to_choose_are_found_by_name_and_chosen_ones_stay(library, site):
    found = site.get(f"/chat/scope/?find=rhi&documents={library['tower'].id}", **HTMX).content.decode()
    assert "rhine.md" in found
    assert f'value="{library["tower"].id}" checked' in found
    assert "rhine.md" not in site.get("/chat/scope/?find=zebra", **HTMX).content.decode()


def test_a_scope_whose_documents_are_gone_does_not_look_like_the_whole_library(talk, site):
    services.update_conversation(conversation=talk, changes={"scope": Scope(talk.owner_id, (uuid.uuid4(),))})
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert "Whole library" not in page
    assert "deleted documents" in page


def test_a_new_chat_about_what_is_gone_is_told_and_not_asked_to_the_whole_library(library, site):
    address = f"/?documents={uuid.uuid4()}"
    page = site.get(address).content.decode()
    assert "deleted documents" in page
    assert "Whole library" not in page
    (form,) = re.findall(r'<form class="composer".*?</form>', page, re.S)
    sent = re.findall(r'name="(documents|collections)" value="([^"]+)"', form)
    for chosen in (dict(sent), {"documents": str(uuid.uuid4())}, {"collections": str(uuid.uuid4())}):
        response = site.post("/chat/ask/", {"content": QUESTION, "next": address, **chosen}, follow=True)
        (told,) = response.context["messages"]
        assert "no longer in your library" in str(told)
    assert not Conversation.objects.exists()


def test_a_conversation_given_only_what_is_gone_is_about_nothing(talk, site):
    site.post(reverse("chat-scope-of", args=[talk.id]), {"documents": str(uuid.uuid4())})
    talk.refresh_from_db()
    assert (talk.scope_collections, talk.scope_documents) == (None, [])


def test_pinned_ones_come_first_archived_ones_apart_and_search_finds_all(owner, site, talk):
    other = services.create_conversation(owner=owner, title="Towers")
    said(other, content="Pisa leans.")
    site.post(reverse("chat-pin", args=[talk.id]))
    listed = site.get("/")
    assert [row.title for row in listed.context["pinned"]] == ["About rivers"]
    assert [row.title for row in listed.context["conversations"].items] == ["Towers"]
    site.post(reverse("chat-archive", args=[talk.id]))
    assert "About rivers" not in site.get("/chat/list/", **HTMX).content.decode()
    assert "About rivers" in site.get("/chat/list/?archived", **HTMX).content.decode()
    assert "Towers" in site.get("/chat/list/?search=leans", **HTMX).content.decode()
    assert "About rivers" in site.get("/chat/list/?search=river", **HTMX).content.decode()
    assert "Nothing was said about" in site.get("/chat/list/?search=zebra", **HTMX).content.decode()


def test_the_list_goes_on_where_it_ended(owner, site, monkeypatch):
    monkeypatch.setattr("chat.views.LIST_SIZE", 2)
    for number in range(3):
        services.create_conversation(owner=owner, title=f"Talk {number}")
    first = site.get("/chat/list/", **HTMX)
    after = first.context["conversations"].next_cursor
    rest = site.get("/chat/list/", {"after": after}, **HTMX).content.decode()
    assert "Talk 0" in rest
    assert "Talk 1" not in rest
    assert site.get("/chat/list/?after=odd", **HTMX).status_code == 200


def test_renaming_and_deleting(talk, site):
    site.post(reverse("chat-rename", args=[talk.id]), {"title": "Streams", "next": "/"})
    talk.refresh_from_db()
    assert talk.title == "Streams"
    assert "for good" in site.get(reverse("chat-delete", args=[talk.id])).content.decode()
    assert Conversation.objects.exists()
    site.post(reverse("chat-delete", args=[talk.id]))
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(
    ("status", "values", "words"),
    [
        ("stopped", {}, "You stopped this answer"),
        ("interrupted", {}, "was interrupted; what was written is above"),
        ("failed", {"error_code": "model_timeout", "error_detail": "The model fell silent."}, "The model fell silent."),
    ],
)
def test_an_answer_without_an_end_shows_what_was_written_and_how_to_go_on(status, values, words, talk, site):
    message = said(talk, status, "Half of it", **values)
    page = site.get(reverse("chat-message", args=[message.id]), **HTMX).content.decode()
    assert "Half of it" in page
    assert words in page
    assert reverse("chat-again", args=[message.id]) in page


def test_asking_again_asks_the_same_question(library, talk, site):
    message = said(talk, "interrupted")
    site.post(reverse("chat-again", args=[message.id]))
    finish()
    questions = Message.objects.filter(role="user").select_related("body")
    assert [row.body.content for row in questions] == [QUESTION, QUESTION]


def test_stopping_from_the_page_stops_the_answer(library, slow_model, talk, site):
    site.post(f"/chat/{talk.id}/ask/", {"content": QUESTION})
    message = Message.objects.get(role="assistant")
    assert site.post(reverse("chat-stop", args=[message.id]), **HTMX).status_code == 204
    finish()
    message.refresh_from_db()
    assert message.status == "stopped"


def test_earlier_messages_are_a_page_away(talk, site, monkeypatch):
    monkeypatch.setattr("chat.views.MESSAGES_SHOWN", 2)
    said(talk, content="The older answer.")
    said(talk, content="The newer answer.")
    newest = site.get(f"/chat/{talk.id}/")
    assert "The older answer." not in newest.content.decode()
    earlier = site.get(f"/chat/{talk.id}/", {"cursor": newest.context["page"].next_cursor}).content.decode()
    assert "The older answer." in earlier
    assert site.get(f"/chat/{talk.id}/?cursor=odd").status_code == 302


def test_a_source_that_was_deleted_says_so_and_leads_nowhere(talk, site):
    message = said(talk, content="So it is [1].")
    cited(message)
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert "The document was deleted." in page
    assert "data-source" not in page


HOSTILE = """
<script>alert(1)</script> <img src=x onerror=alert(1)> [1]
![picture](https://evil.example/spy.png) [click](javascript:alert(1)) [fine](https://example.org/a)
<a href="https://evil.example" class="cite" data-cite="x">1</a> `[1]` **bold** [7] and [1, 2]
"""


class Tags(HTMLParser):
    """The elements of a piece of HTML, and the values of each attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)


@pytest.mark.parametrize("engine", ["openai", "extractive"])
def test_what_a_model_or_a_document_says_never_becomes_a_script_a_picture_or_a_frame(engine, talk, library):
    message = said(talk, content=HOSTILE, engine=engine)
    cited(message, 1, library["rhine"])
    cited(message, 2, library["rhine"])
    html = answer_html(message, HOSTILE)
    seen = Tags(html)
    assert seen.names <= {"p", "a", "code", "strong", "br"}
    assert not any(name.startswith("on") for name in seen.attributes)
    assert all(target.startswith("#citation-") for target in seen.attributes["href"])
    assert all(target.startswith("citation-") for target in seen.attributes["data-cite"])
    assert seen.attributes["class"].count("cite") == (3 if engine == "openai" else 4)
    assert "[7]" in html


def test_addresses_in_a_models_answer_are_text_to_be_copied(talk):
    message = said(talk, engine="openai")
    html = answer_html(message, "[a](https://example.org/a) ![b](https://example.org/b.png) <https://example.org/c>")
    assert Tags(html).names == {"p", "code"}
    assert 'a <code class="address">https://example.org/a</code>' in html
    assert 'b <code class="address">https://example.org/b.png</code>' in html
    assert "https://example.org/c" in html


@pytest.mark.parametrize("text", ["[1](https://evil.example/?q=secret)", "see [1]\n\n[1]: https://evil.example"])
def test_a_marker_that_a_model_writes_as_a_link_leads_to_the_citation(text, talk, library):
    message = said(talk, content=text, engine="openai")
    cited(message, 1, library["rhine"])
    seen = Tags(answer_html(message, text))
    assert set(seen.attributes["href"]) == {f"#citation-{message.id}-1"}


def test_claims_that_their_source_does_not_support_are_marked_where_they_end(talk):
    text = "It is **long**. It is 99 km \ue000wide [1]. `It` is old."
    message = said(talk, content=text, engine="openai")
    end = text.index(" [1]")
    message.support = {
        "claims": 3,
        "supported": 1,
        "unsupported": [
            {"start": 16, "end": end, "reason": "not_in_source"},
            {"start": end + 6, "end": len(text), "reason": "no_source"},
        ],
    }
    html = answer_html(message, text)
    assert html.count('class="doubt"') == 2
    assert "wide<span" in html
    assert html.index("not in its source") < html.index("It</code>") < html.index("no source")
    assert "\ue000" not in html


def test_markdown_of_a_model_is_shown_and_stars_in_a_quote_stay_stars(talk):
    model, quoting = said(talk, engine="openai"), said(talk, engine="extractive")
    assert "<strong>bold</strong>" in answer_html(model, "**bold**\n\n| a | b |\n|---|--:|\n| 1 | 2 |")
    assert "style" not in answer_html(model, "| a | b |\n|---|--:|\n| 1 | 2 |")
    assert answer_html(quoting, "5 * 4 **\n\n# no heading") == "<p>5 * 4 **</p><p># no heading</p>"


def test_the_list_takes_as_many_queries_for_twenty_conversations_as_for_two(owner, site):
    # session, user, documents there at all, pinned, recent
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert site.get("/").status_code == 200
        return len(captured)

    for _ in range(2):
        services.create_conversation(owner=owner, title="Talk")
    with_two = queries()
    for _ in range(18):
        services.create_conversation(owner=owner, title="Talk")
    assert queries() == with_two <= 5


def test_a_conversation_takes_as_many_queries_for_twenty_messages_as_for_two(library, talk, site):

    # session, user, conversation, messages with bodies, citations, pinned, recent
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert site.get(f"/chat/{talk.id}/").status_code == 200
        return len(captured)

    cited(said(talk, content="One [1]."), 1, library["rhine"])
    with_two = queries()
    for _ in range(9):
        cited(said(talk, content="More [1]."), 1, library["rhine"])
    assert queries() == with_two <= 7


def test_the_page_of_an_answer_carries_no_inline_code(library, talk, site):
    cited(said(talk, content=HOSTILE, engine="openai"), 1, library["rhine"])
    page = site.get(f"/chat/{talk.id}/").content.decode()
    assert " style=" not in page
    assert page.count("<script") == page.count("<script src=")
