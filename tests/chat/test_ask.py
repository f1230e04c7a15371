"""manage.py ask."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chat.models import Message
from documents.models import Collection, Document
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION


def run(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("ask", *arguments, stdout=out, **options)
    return out.getvalue()


def test_a_question_is_answered_with_its_sources(owner: User, library: dict[str, Document]) -> None:
    printed = run(QUESTION, owner="owner")
    assert printed.startswith("It is 1,230 kilometres long and flows through Basel. [1]")
    assert "[1] rhine.md" in printed
    assert not Message.objects.exists()


def test_the_answer_is_printed_as_json(owner: User, library: dict[str, Document]) -> None:
    answer = json.loads(run(QUESTION, "--json", "--owner", "owner"))
    assert answer["citations"][0]["document"] == str(library["rhine"].id)


def test_documents_and_collections_are_named_or_given_by_id(owner: User, library: dict[str, Document]) -> None:
    nothing = "Your documents do not answer this."
    collection = Collection.objects.create(owner=owner, name="Empty")
    assert nothing in run(QUESTION, owner="owner", document=["tower.md"])
    assert "1,230" in run(QUESTION, owner="owner", document=[str(library["rhine"].id)])
    assert nothing in run(QUESTION, owner="owner", collection=[collection.name])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x", "--owner", "nobody"], "There is no user"),
        (["x", "--owner", "owner", "--document", "none.md"], "No document"),
        (["x", "--owner", "owner", "--collection", "019a0000-0000-7000-8000-000000000000"], "not in your library"),
        ([" ", "--owner", "owner"], "Ask something"),
        (["x"], "no administrator"),
    ],
)
def test_mistakes_are_told(owner: User, arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run(*arguments)


def test_a_model_that_is_down_is_told(owner: User, library: dict[str, Document], settings: Any) -> None:
    settings.LLM_BASE_URL = "http://127.0.0.1:1/v1"
    with pytest.raises(CommandError, match="cannot be reached"):
        run(QUESTION, owner="owner")
