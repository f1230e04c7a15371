"""Whether a question is answered at all: kinds of answers, opposites, signals."""

import json
import uuid
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chat.answers.draft import Draft
from chat.answers.running import RunningAnswer
from chat.answers.writer import Writer
from chat.engines.answer_types import AnswerType, asked_for, likely_answer, places_of
from chat.engines.background import QUESTIONS, background
from chat.engines.base import Request
from chat.engines.candidates import Candidate
from chat.engines.evidence import WEIGHTS, fitted, is_answered
from chat.engines.extractive import ExtractiveEngine
from chat.engines.opposites import opposed
from chat.engines.signals import signals
from chat.models import Citation, Message
from chat.rendering import answer_html
from tests.chat.test_engines import hit, passages
from tests.fakes import FakeEncoder

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many bridges has Basel?", AnswerType.NUMBER),
        ("Wie viele Brücken hat Basel?", AnswerType.NUMBER),
        ("橋は何本ありますか", AnswerType.NUMBER),
        ("When did Basel join?", AnswerType.DATE),
        ("In what year did Basel join?", AnswerType.DATE),
        ("Quand est-ce arrivé ?", AnswerType.DATE),
        ("いつ完成しましたか", AnswerType.DATE),
        ("Who built the tower?", AnswerType.NAME),
        ("Wo liegt Basel?", AnswerType.NAME),
        ("谁建造了这座塔？", AnswerType.NAME),
        ("Why does the tower lean?", AnswerType.OTHER),
    ],
)
def test_a_question_says_what_kind_of_thing_it_asks_for(question: str, kind: AnswerType) -> None:
    assert asked_for(question) is kind


@pytest.mark.parametrize(
    ("kind", "sentence", "found"),
    [
        (AnswerType.NUMBER, "In Basel 230,000 people cross six bridges.", ["230,000", "six"]),
        (AnswerType.DATE, "Basel joined on 13 July 1501 after the war.", ["13 July 1501"]),
        (AnswerType.DATE, "東京タワーは1958年に完成した。", ["1958年"]),
        (AnswerType.NAME, "The bridge was built by Johann von Thun in Basel.", ["Johann von Thun"]),
        (AnswerType.OTHER, "Basel joined in 1501.", []),
    ],
)
def test_a_sentence_is_searched_for_that_kind_without_what_the_question_names(
    kind: AnswerType, sentence: str, found: list[str]
) -> None:
    places = places_of(kind, sentence, "What about Basel?")
    assert [sentence[start:end] for start, end in places] == found


@pytest.mark.parametrize(
    ("question", "sentence", "expected"),
    [
        ("What was the last crusade?", "The first crusade began in 1096.", True),
        ("Which matters are inside its competence?", "Reserved matters are outside its competence.", True),
        ("Which treatment was necessary?", "They regarded the treatment unnecessary.", True),
        ("Was war der letzte Kreuzzug?", "Die ersten und letzte Züge.", False),
        ("What was the first crusade?", "The first crusade came before the last one.", False),
        ("Who uses the university?", "People of the city.", False),
    ],
)
def test_a_sentence_that_says_the_opposite_is_noticed(question: str, sentence: str, expected: bool) -> None:
    assert opposed(question, sentence) is expected


def judged(question: str, text: str, meaning: float) -> bool:
    (passage,) = passages(hit(text, start=0))
    return is_answered(Request(question, question, (passage,)), [Candidate(passage, 0, len(text), 0.6, meaning)])


def test_the_weights_are_those_of_the_signals() -> None:
    (passage,) = passages(hit())
    request = Request("How long is the Rhine?", "How long is the Rhine?", (passage,))
    values = signals(request, [Candidate(passage, 100, 130, 0.5, 0.9)])
    assert fitted().weights.keys() == values.keys()
    assert all(-1.0 <= value <= 1.0 for value in values.values())
    assert json.loads(WEIGHTS.read_text(encoding="utf-8"))["calibrated_on"]


def test_numbers_and_names_that_name_the_document_are_not_missed_in_its_sentences() -> None:
    text = "Net sales of wearables fell against the quarter before."
    question = "Did net sales of wearables fall in Apple's Q1 2023 Form 10-Q?"
    missed = {}
    for title, filename in (("2023 Q1 Apple: Form 10-Q", "2023 Q1 AAPL.pdf"), ("A report", "report.pdf")):
        (passage,) = passages(hit(text, start=0, title=title, filename=filename))
        values = signals(Request(question, question, (passage,)), [Candidate(passage, 0, len(text), 0.5, 0.9)])
        missed[filename] = values["numbers_missing_in_sentence"], values["names_missing"]
    assert missed == {"2023 Q1 AAPL.pdf": (0.0, 0.0), "report.pdf": (1.0, 1.0)}


def test_doubtful_signs_refuse_what_a_cosine_alone_would_answer() -> None:
    text = "The first crusade was led by Raymond of Toulouse and began in 1096."
    assert judged("When did the crusade led by Raymond begin?", text, 0.88)
    assert not judged("When did the last crusade, not led by Philip of Spain, begin in 1850?", text, 0.88)


@pytest.mark.parametrize("question", ["What is in the budget?", "Was steht im Vertrag?", "予算には何がありますか？"])
def test_a_text_that_is_as_near_to_any_question_is_no_answer(question: str) -> None:
    filler = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt."
    for language in ("ca", "en"):
        (passage,) = passages(hit(filler, start=0, language=language))
        near = Candidate(passage, 0, len(filler), 0.0, meaning=0.84, background=0.80)
        assert not is_answered(Request(question, question, (passage,)), [near])


def test_a_text_in_another_language_answers_when_it_is_nearer_than_to_any_question() -> None:
    (passage,) = passages(hit(language="fr"))
    near = Candidate(passage, 100, 130, 0.0, meaning=0.84, background=0.74)
    assert is_answered(Request("Wie lang ist der Rhein?", "Wie lang ist der Rhein?", (passage,)), [near])


def test_the_background_is_computed_once(fake_encoder: FakeEncoder) -> None:
    assert background() is background()
    assert background() == pytest.approx(
        np.mean([fake_encoder.embed_query(question) for question in QUESTIONS], axis=0)
    )


def test_a_question_about_other_things_is_refused_whatever_words_it_shares() -> None:
    assert not judged("What is the capital of Peru?", "The capital of the bank was raised in 1096.", 0.76)


@pytest.mark.parametrize(
    ("question", "sentence", "answer"),
    [
        ("When did Basel join?", "Built in 1225, the bridge stood when Basel did join in 1501.", "1501"),
        ("Who built the tower?", "In 1372 the tower was built by Tommaso Pisano.", "Tommaso Pisano"),
        ("How many bells are there?", "The tower has seven bells and was closed in 1990.", "seven"),
        ("Why does it lean?", "It leans because of the soft ground in Pisa.", None),
        ("When did it lean?", "It leans because of the soft ground in Pisa.", None),
    ],
)
def test_the_likely_answer_is_the_place_nearest_to_the_questions_words(
    question: str, sentence: str, answer: str | None
) -> None:
    span = likely_answer(question, sentence)
    assert (sentence[slice(*span)] if span else None) == answer


def test_a_citation_says_where_its_quote_holds_the_answer(fake_encoder: FakeEncoder) -> None:
    text = "The Rhine is long and flows through Basel since 1225 <b>or</b> so."
    draft, question = Draft(), "Since when does the Rhine, long, flow through Basel or so?"
    writer = Writer(RunningAnswer(uuid.uuid4(), 1), draft)
    vector = fake_encoder.embed_query(question)
    ExtractiveEngine().answer(Request(question, question, passages(hit(text)), vector=vector), writer)
    writer.finish()
    (citation,) = draft.citations
    assert (citation.answer_start, citation.answer_end) == (100 + text.index("1225"), 100 + text.index("1225") + 4)
    html = answer_html(_answer([citation]), draft.text)
    assert "<mark>1225</mark> &lt;b&gt;or&lt;/b&gt; so." in html


def test_a_mark_without_its_quote_in_the_answer_is_no_mark() -> None:
    gone = Citation(marker=1, start=0, end=4, quote="", answer_start=0, answer_end=4)
    assert "<mark>" not in answer_html(_answer([gone]), "[…] [1]")


def _answer(citations: list[Citation]) -> Any:
    every = SimpleNamespace(all=lambda: citations)
    return SimpleNamespace(id=uuid.uuid4(), engine="extractive", citations=every, role=Message.Role.ASSISTANT)
