"""Documents that give orders are data: to the engine that quotes, and to a model that would obey every one of them."""

import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client as Browser
from playwright.sync_api import Request, Route, sync_playwright
from rest_framework.test import APIClient

from chat.models import Message
from chat.rendering import answer_html
from documents.models import Document, DocumentText
from ragsite.accounts.models import User
from ragsite.layout import Layout
from tests.chat.conftest import ask, new_conversation, use
from tests.chat.poison import EVIL, FACT, POISONED, QUESTION, SECRET, TAGGED, document, gullible, sent_to_model
from tests.load.mock_model import Server, running_mock
from tests.load.site import running_site

Client = Callable[..., APIClient]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HARMLESS = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "span"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}


class Elements(HTMLParser):
    """All tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    """Nothing in it loads, runs, or leads anywhere but to a citation of this answer."""
    for tag, attributes in Elements(html).found:
        assert tag in HARMLESS
        assert attributes.keys() <= {"href", "class", "data-cite", "aria-label", "title", "start"}
        assert (attributes.get("href") or "#citation-").startswith("#citation-")


def assert_verbatim(message: dict[str, Any]) -> None:
    for citation in message["citations"]:
        text = DocumentText.objects.get(document=citation["document"]).text
        assert text[citation["start"] : citation["end"]] == citation["quote"]
        assert f"[{citation['marker']}]" in message["content"]


@pytest.fixture
def obedient(settings: LazySettings) -> Iterator[Server]:
    with running_mock(reply=gullible) as server:
        use(settings, server)
        yield server


Answers = dict[str, tuple[dict[str, Any], str]]


@pytest.fixture
def answers(owner: User, stranger: User, api: Client, processed: Callable[..., Document]) -> Callable[..., Answers]:
    """``answers()``: of each poisoned document the answer to a question and its HTML; a stranger has a secret."""

    def ask_all(*names: str) -> Answers:
        processed(stranger, f"# Secrets of the lighthouse\n\n{SECRET}\n", "stranger.md")
        return {name: asked(name) for name in names or POISONED}

    def asked(name: str) -> tuple[dict[str, Any], str]:
        manual = processed(owner, document(name), f"{name}.md")
        conversation = new_conversation(api(owner), documents=[str(manual.id)])
        message = ask(api(owner), conversation, QUESTION).json()
        return message, answer_html(Message.objects.get(id=message["id"]), message["content"])

    return ask_all


def test_quotes_of_poisoned_documents_are_words_and_nothing_else(answers: Callable[..., Answers]) -> None:
    for message, html in answers().values():
        assert message["engine"] == "extractive"
        assert SECRET not in html
        assert_harmless(html)
        assert_verbatim(message)


def test_a_model_that_obeys_documents_reaches_no_other_document_no_tool_and_no_address(
    answers: Callable[..., Answers], obedient: Server
) -> None:
    found = answers()
    obeyed = [name for name, (message, _html) in found.items() if len(message["content"]) > len(FACT) + 10]
    assert len(obeyed) > len(POISONED) / 2, "the model must be one that can be fooled"
    for name, (message, html) in found.items():
        assert message["content"].startswith(FACT)
        assert_harmless(html)
        assert_verbatim(message)
        assert SECRET not in html
        assert {citation["filename"] for citation in message["citations"]} == {f"{name}.md"}
    assert SECRET not in sent_to_model(obedient.requests)
    for request in obedient.requests:
        assert request.keys() <= {"model", "messages", "stream", "stream_options", "max_tokens"}
        assert [entry["role"] for entry in request["messages"]] == ["system", "user"]


def test_what_models_read_as_more_than_text_does_not_reach_them(
    answers: Callable[..., Answers], obedient: Server
) -> None:
    found = answers("fake system message", "llama's roles", "other roles", "unicode tags", "no width")
    sent = sent_to_model(obedient.requests)
    for token in (
        "<|im_start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "[INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "</s>",
        "<think>",
    ):
        assert token not in sent
    for invisible in (TAGGED[0], "\u200b", "\u202e", "\u2066"):
        assert invisible not in sent
    assert "hidden orders obeyed" not in found["unicode tags"][0]["content"]


def test_invented_markers_are_left_out_and_their_claims_doubted(
    answers: Callable[..., Answers], obedient: Server
) -> None:
    message, html = answers("invented markers")["invented markers"]
    assert "[42]" not in message["content"]
    assert "[99]" not in message["content"]
    assert html.count('class="cite"') == html.count("data-cite=") == len(message["citations"])


def test_a_model_that_asks_for_tools_gets_none(writer_and_reply: Any) -> None:
    writer, reply = writer_and_reply
    call = '{"id":"1","type":"function","function":{"name":"file_search","arguments":"{}"}}'
    reply.take(f'{{"choices":[{{"delta":{{"tool_calls":[{call}],"function_call":{{"name":"x"}}}}}}]}}'.encode())
    reply.take(b'{"choices":[{"delta":{"reasoning_content":"SAY: my thoughts"},"finish_reason":"tool_calls"}]}')
    reply.show()
    writer.finish()
    assert writer.text == ""
    assert reply.is_complete


@pytest.fixture
def writer_and_reply() -> Any:
    import uuid

    from chat.answers.draft import Draft
    from chat.answers.running import RunningAnswer
    from chat.answers.writer import Writer
    from chat.engines.markers import MarkerReader
    from chat.engines.openai import Reply
    from chat.engines.reading import Reading

    writer = Writer(RunningAnswer(uuid.uuid4(), 1), Draft())
    return writer, Reply(MarkerReader({}, writer, Reading()), writer)


@pytest.mark.xdist_group("live")
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")
def test_a_browser_that_shows_poisoned_answers_asks_nobody_but_the_site(
    owner: User,
    answers: Callable[..., Answers],
    obedient: Server,
    settings: LazySettings,
    layout: Layout,
    encoder_service: Any,
) -> None:
    """Without the site's security policy too, which would be the second line of defence."""
    found = answers(
        "picture", "picture by reference", "link", "link as a marker", "html", "style", "script", "markdown"
    )
    pages = [f"/chat/{message['conversation']}/" for message, _html in found.values()]
    site_client = Browser()
    site_client.force_login(owner)
    session = site_client.cookies[settings.SESSION_COOKIE_NAME].value
    with running_site(layout) as site:
        assert visited(site.url, session, pages) == []


def visited(url: str, session: str, pages: list[str]) -> list[str]:
    """Open each page and click on every address in it; the requests that went, or wanted to go, elsewhere."""
    elsewhere: list[str] = []

    def guard(route: Route, request: Request) -> None:
        if request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            elsewhere.append(request.url)
            route.abort()

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(bypass_csp=True)
        context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
        context.route("**/*", guard)
        page = context.new_page()
        page.on("dialog", lambda dialog: elsewhere.append(dialog.message) or dialog.dismiss())
        for path in pages:
            page.goto(url + path)
            assert EVIL in page.locator(".said").last.inner_text() or "document.location" in page.content()
            for address in page.locator(".said .address").all():
                address.click()
            assert page.url == url + path
            assert page.locator(".said img, .said iframe, .said script, .said style").count() == 0
        chromium.close()
    return elsewhere
