"""All shown citations stand word for word in their originals, at the offsets and on the page that they name."""
# ruff: noqa: E501  (texts a line each)

import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from django.conf import LazySettings
from django.test import Client as Browser
from rest_framework.test import APIClient

from documents.models import Document, DocumentText
from processing import pipeline
from ragsite.accounts.models import User
from tests.chat.conftest import ask, new_conversation, use
from tests.load.mock_model import running_mock

Client = Callable[..., APIClient]
DATA = Path(__file__).parents[3] / "shared" / "data"
CHECKED = 200
OWN = {
    "windows.md": "# Der Fluss\r\n\r\nDer Rhein ist 1.230 km lang.\r\nEr fließt durch Basel — „schön“ 🌊🏴‍☠️.\r\n\r\nEnde & <b>aus</b>.",
    "emoji.txt": "🎉🎉 The festival of Arlen 🎪 begins on 4 May 😀. It ends on 9 May 👨‍👩‍👧‍👦 with fireworks. \t Entry is free.",
    "japanese.md": "# 東京\n\n東京は日本の首都です。人口は約1400万人です。𠮷野家は牛丼で有名です。",
    "marks.md": "# Markup [1]\n\nThe valve [2] opens at **3 bar** and `x < 5 && y > 2`. See [7](http://a.example) for _more_ on the valve.",
    "combining.txt": "Cafe\u0301 Zoe\u0308 opened in 1999. The cafe\u0301 serves tea\u00a0and na\u0131ve poems. A\u200bzero\u200bwidth joke.",
    "arabic.md": "# النهر\n\nيبلغ طول نهر الراين 1230 كيلومترا. يمر النهر عبر مدينة بازل.",
}
QUESTIONS = [
    *("Wie lang ist der Rhein?", "When does the festival of Arlen begin?", "When does the festival of Arlen end?"),
    *(
        "東京の人口は？",
        "日本の首都は東京ですか",
        "At which pressure does the valve open?",
        "When was the Café Zoë opened?",
    ),
    *("كم يبلغ طول نهر الراين؟", "What does the cafe serve?", "What does the valve say of x and y?"),
]


@dataclass(frozen=True)
class Shown:
    """A citation as the API gives it, and as the page of its conversation shows it."""

    citation: dict[str, Any]
    on_page: list[str]


class Quotes(HTMLParser):
    """The text of every ``q`` of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "q":
            self._open = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "q"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += data


def citing(body: dict[str, Any]) -> str:
    """What a model would write that rewords the beginning of each passage and says where it is from."""
    passages = re.findall(
        r"^\[(\d+)\] \([^\n]*\)\n(.*?)(?=\n\n\[\d+\] \(|\n</passages)", body["messages"][-1]["content"], re.S | re.M
    )
    parts = []
    for number, text in passages:
        words = text.split()
        cut = random.Random(len(text)).randrange(max(1, len(words) - 8))
        parts.append(f"**{' '.join(words[cut : cut + 8])}** [{number}].")
    return "\n\n".join(parts)


@pytest.fixture
def citing_model(settings: LazySettings) -> Iterator[None]:
    with running_mock(reply=citing) as server:
        use(settings, server)
        settings.LLM_CONTEXT_TOKENS = 16_000
        yield


def shown(client: APIClient, browser: Browser, questions: list[str], **conversation: Any) -> Iterator[Shown]:
    """Ask each question alone; what its answer cites."""
    for question in questions:
        identifier = new_conversation(client, **conversation)
        answer = ask(client, identifier, question)
        assert answer.status_code == 201, answer.content
        page = Quotes(browser.get(f"/chat/{identifier}/").content.decode()).texts
        for citation in answer.json()["citations"]:
            assert f"[{citation['marker']}]" in answer.json()["content"]
            yield Shown(citation, page)


def assert_verbatim(entry: Shown) -> None:
    citation = entry.citation
    quote, start, end = citation["quote"], citation["start"], citation["end"]
    assert citation["verified"]
    assert quote
    assert quote in entry.on_page, "formatting has changed it"
    document = Document.objects.get(id=citation["document"])
    assert DocumentText.objects.get(document=document).text[start:end] == quote
    with document.file.open() as file:
        data = file.read()
    if document.content_type in ("text/plain", "text/markdown"):
        assert data.decode()[start:end] == quote
    elif document.content_type == "application/pdf":
        assert letters(quote) in letters(pdf_text(data, citation["page"]))


def pdf_text(data: bytes, page: int) -> str:
    """Of the page that is named and the next one: a sentence may go on there."""
    document = pypdfium2.PdfDocument(data)
    last = min(page + 1, len(document))
    return " ".join(document[number - 1].get_textpage().get_text_range() for number in range(page, last + 1))


def letters(text: str) -> str:
    """What is left when lines are broken, hyphenated and spaced otherwise."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum())


@pytest.mark.parametrize("engine", ["extractive", "openai"])
def test_citations_of_difficult_characters_are_verbatim(
    owner: User,
    api: Client,
    signed_in: Callable[[User], Browser],
    processed: Callable[..., Document],
    citing_model: None,
    engine: str,
) -> None:
    for name, text in OWN.items():
        processed(owner, text, name)
    picked = {"language_model": "extractive"} if engine == "extractive" else {}
    found = list(shown(api(owner), signed_in(owner), QUESTIONS, **picked))
    assert len(found) >= (2 if engine == "extractive" else 20)
    for entry in found:
        assert_verbatim(entry)


@pytest.fixture
def read_in(upload: Callable[..., Document], sandbox_service: Path, encoder_service: Any) -> Callable[..., None]:
    """Documents that went the whole way with the real encoder: by a fake one the quoting engine refuses too much."""

    def store(owner: User, path: Path) -> None:
        upload(owner, path.read_bytes(), path.name)
        while pipeline.process_next():
            pass

    return store


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_random_citations_over_real_files_are_verbatim(
    owner: User,
    api: Client,
    signed_in: Callable[[User], Browser],
    read_in: Callable[..., None],
    citing_model: None,
) -> None:
    if not DATA.is_dir():
        pytest.skip("there is no ../shared/data")
    rng = random.Random(10)
    questions: list[str] = []
    for name, documents in (("squad", 3), ("jaquad", 2), ("sec10q", 1)):
        entries = [json.loads(line) for line in (DATA / name / "questions.jsonl").read_text().splitlines()]
        chosen = sorted((DATA / name / "docs").iterdir())[:documents]
        for path in chosen:
            read_in(owner, path)
        named = {name for path in chosen for name in (path.name, f"docs/{path.name}")}
        about = [entry for entry in entries if named & {entry.get("document"), *entry.get("documents", [])}]
        questions += [entry["question"] for entry in rng.sample(about, min(30, len(about)))]
    client, browser = api(owner), signed_in(owner)
    written = list(shown(client, browser, questions))
    quoted = list(shown(client, browser, questions, language_model="extractive"))
    print(f"{len(questions)} questions, {len(written)} citations of the model, {len(quoted)} of quotes")
    assert len(quoted) >= 20
    sample = rng.sample(quoted, min(CHECKED // 2, len(quoted)))
    sample += rng.sample(written, CHECKED - len(sample))
    for entry in sample:
        assert_verbatim(entry)
