"""What an answer's citations say of the place that they quote."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from chat.models import Citation, RetrievalTrace
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import ask, new_conversation
from tests.processing.test_office_formats import inline, row, sheet, xlsx

QUESTION = "How many ships did the harbour of Basel count in the year?"
OTHERS = [f"Quay number {number} on the coast of elsewhere|{number} of them." for number in range(60)]
ROWS = ["Harbour|Ships counted", *OTHERS, "The harbour of Basel did count many ships in the year|1230 of them."]
API = Callable[..., APIClient]


@pytest.fixture
def harbours(owner: User, processed: Callable[..., Document]) -> Document:
    """A workbook whose second sheet is a table of two chunks or more."""
    cells = [line.split("|") for line in ROWS]
    rows = [row(n, inline(f"A{n}", left), inline(f"B{n}", right)) for n, (left, right) in enumerate(cells, 1)]
    sheets = {"Notes": sheet(row(1, inline("A1", "Nothing much."))), "Harbours": sheet(*rows)}
    return processed(owner, xlsx(sheets), "harbours.xlsx")


def test_a_citation_of_a_sheet_says_its_name_and_the_columns(owner: User, api: API, harbours: Document) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client), QUESTION).json()
    (citation,) = answer["citations"]
    assert "Basel" in citation["quote"]
    assert (citation["page"], citation["page_kind"], citation["page_label"]) == (2, "sheet", "Harbours")
    assert citation["place"] == "sheet Harbours"
    assert citation["table_header"] == "Harbour | Ships counted"
    assert citation["headings"] == []
    assert client.get(f"/api/v1/messages/{answer['id']}").json()["citations"] == [citation]
    assert "Harbours" not in str(RetrievalTrace.objects.get().passages)


def test_the_page_shows_the_sheet_and_the_columns(
    owner: User, api: API, signed_in: Callable[[User], Client], harbours: Document
) -> None:
    client = api(owner)
    talk = new_conversation(client)
    ask(client, talk, QUESTION)
    shown = signed_in(owner).get(f"/chat/{talk}/").content.decode()
    assert "<span>sheet Harbours</span>" in shown
    assert "Harbour | Ships counted" in shown
    assert "page 2" not in shown


def test_openai_clients_and_the_terminal_read_the_place(owner: User, api: API, harbours: Document, capsys: Any) -> None:
    body = {"model": "ragsite", "messages": [{"role": "user", "content": QUESTION}]}
    choice = api(owner).post("/v1/chat/completions", body).json()["choices"][0]
    (annotation,) = choice["message"]["annotations"]
    assert annotation["url_citation"]["title"] == "harbours.xlsx, sheet Harbours"
    assert annotation["citation"]["place"] == "sheet Harbours"
    call_command("ask", QUESTION, owner=owner.username)
    assert "[1] harbours.xlsx, sheet Harbours\n    Harbour | Ships counted\n    " in capsys.readouterr().out


def test_a_deleted_documents_place_goes_with_its_words(owner: User, api: API, harbours: Document) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client), QUESTION).json()
    client.delete(f"/api/v1/documents/{harbours.id}")
    (citation,) = client.get(f"/api/v1/messages/{answer['id']}").json()["citations"]
    assert (citation["filename"], citation["quote"], citation["page_label"]) == ("", "", None)
    assert (citation["headings"], citation["table_header"]) == ([], "")
    assert citation["place"] == "sheet 2"
    assert not Citation.objects.exclude(page_label="").exists()
