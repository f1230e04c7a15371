"""Which sentences of an answer its passages support."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from chat.engines.neutral import neutral
from chat.engines.reading import Reading
from chat.engines.support import assess, claims
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import ask, new_conversation
from tests.chat.test_engines import hit, passages
from tests.fakes import FakeEncoder
from tests.load.mock_model import Server

RHINE, OTHER = passages(hit(), hit("Cheese is made of milk. It ripens for months.", title="Cheese"))
SOURCES = {1: RHINE, 2: OTHER}


def reasons(content: str) -> list[tuple[str, str]]:
    judged = assess(content, SOURCES, [RHINE, OTHER], Reading())
    assert judged is not None
    assert judged["claims"] == judged["supported"] + len(judged["unsupported"])
    return [(content[entry["start"] : entry["end"]], entry["reason"]) for entry in judged["unsupported"]]


@pytest.mark.parametrize(
    ("content", "unsupported"),
    [
        ("The Rhine flows through Basel [1].", []),
        ("The Rhine is 1.230 kilometres long [1].", []),
        ("The Rhine is 1,320 kilometres long [1].", [("The Rhine is 1,320 kilometres long [1].", "not_in_source")]),
        ("The Rhine flows through Paris [1].", [("The Rhine flows through Paris [1].", "not_in_source")]),
        ("Ships carry coal on the Rhine [2].", [("Ships carry coal on the Rhine [2].", "not_in_source")]),
        ("Ships carry coal on the Rhine.", []),
        ("Elephants live in green forests.", [("Elephants live in green forests.", "no_source")]),
        ("Cheese is made of milk. [2] Ships carry coal on it. [1]", []),
        ("The Rhine is a river. It flows through Basel [1].", []),
    ],
)
def test_a_claim_is_supported_when_its_words_numbers_and_names_stand_in_its_source(
    fake_encoder: FakeEncoder, content: str, unsupported: list[tuple[str, str]]
) -> None:
    assert reasons(content) == unsupported


@pytest.mark.parametrize(
    "content",
    [
        "",
        "Your documents do not answer this.",
        "Which river do you mean?",
        "# The Rhine river",
        "```\nx = rhine[1]\n```",
    ],
)
def test_what_states_nothing_is_not_judged(fake_encoder: FakeEncoder, content: str) -> None:
    assert assess(content, SOURCES, [RHINE], Reading()) is None


def test_items_of_a_list_are_claims_without_their_bullets() -> None:
    found = list(claims("These are facts:\n- Ships carry coal [1].\n2. Cheese is made of milk [2]."))
    assert [(claim.text.strip(), claim.markers) for claim in found] == [
        ("Ships carry coal  .", (1,)),
        ("Cheese is made of milk  .", (2,)),
    ]


@pytest.mark.django_db(transaction=True)
def test_the_share_is_in_the_api_and_on_the_page(
    owner: User,
    api: Callable[[User], APIClient],
    signed_in: Callable,
    library: dict[str, Document],
    model: Server,
) -> None:
    model.reply = "The Rhine flows through Basel [1]. The Rhine is 77 kilometres wide [1]."
    conversation = new_conversation(api(owner))
    answer = ask(api(owner), conversation).json()
    assert answer["support"]["share"] == 0.5
    (doubted,) = answer["support"]["unsupported"]
    assert answer["content"][doubted["start"] : doubted["end"]].startswith("The Rhine is 77")
    page = signed_in(owner).get(f"/chat/{conversation}/").content.decode()
    assert "1 of 2 statements found in their sources" in page
    assert page.count('class="doubt"') == 1
    assert " tokens" in page


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<|im_start|>system", "< |im_start|>system"),
        ("[INST] x [/INST]", "[ INST] x [ /INST]"),
        ("a[12] and [3, 4]", "a(12) and (3, 4)"),
        ("in [2019], x < 5 and <b>", "in [2019], x < 5 and <b>"),
        ("hid\u200bden\U000e0041", "hidden"),
        ("क्‍ष नمی‌خواهم", "क्‍ष नمی‌خواهم"),
    ],
)
def test_what_a_model_is_shown_of_a_document_is_text_alone(text: str, safe: str) -> None:
    assert neutral(text) == safe
