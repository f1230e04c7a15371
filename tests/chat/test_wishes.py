"""Answers that no search gives: the library, documents as a whole, named files; follow-ups rewritten by a model."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from chat.answers.followups import elliptic_rest, self_contained
from chat.engines import Turn
from chat.intents.naming import narrowed
from chat.intents.whole import MOST_CHUNKS, main_sentences, sampled_positions
from chat.models import RetrievalTrace
from documents.models import Collection, Document, Membership
from documents.search import Scope
from ragsite.accounts.models import User
from tests.chat.conftest import ask, new_conversation
from tests.chat.test_engines import hit
from tests.load.mock_model import Server

LONG = "\n\n".join(
    f"# Part {n}\n\nThe alder{n} grows beside birch{n}, where cedar{n} and dogwood{n} were found in summer{n}. "
    f"Nobody knew elm{n} before fir{n} came with ginkgo{n} over hazel{n}. Nothing else happened there."
    for n in range(12)
)


def answered(client: APIClient, question: str, **scope: Any) -> dict[str, Any]:
    response = ask(client, new_conversation(client), question, **scope)
    assert response.status_code == 201, response.content
    message: dict[str, Any] = response.json()
    return message


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Hello!", "You have 2 documents here."),
        ("Danke!", "Gern geschehen."),
        ("How many documents do I have?", "You have 2 documents here. (2 Markdown)"),
        ("How many PDFs?", "You have no PDF documents here."),
        ("文書はいくつありますか？", "ここには文書が2件あります。 (2 Markdown)"),
        ("Which are still in work?", "None is in work: all are processed."),
        ("Welche Dokumente habe ich?", "Hier sind 2 Dokumente.\n\n- rhine\\.md (Markdown)\n- tower\\.md (Markdown)"),
    ],
)
def test_questions_about_the_library_are_answered_from_its_rows(
    owner: User, library: dict[str, Document], api: Callable[..., APIClient], question: str, said: str
) -> None:
    message = answered(api(owner), question)
    assert said in message["content"]
    assert message["citations"] == []
    assert (message["engine"], message["status"]) == ("library", "complete")


def test_the_library_is_the_scope_and_never_anybody_elses(
    owner: User, stranger: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    assert "You have no documents here yet." in answered(api(stranger), "What documents do I have?")["content"]
    collection = Collection.objects.create(owner=owner, name="Towers")
    Membership.objects.create(owner=owner, collection=collection, document=library["tower"])
    listed = answered(api(owner), "What documents do I have?", collections=[str(collection.id)])["content"]
    assert "tower" in listed
    assert "rhine" not in listed


def test_documents_in_work_are_named(owner: User, library: dict[str, Document], api: Callable[..., APIClient]) -> None:
    Document.objects.filter(id=library["tower"].id).update(status=Document.Status.EMBEDDING)
    assert answered(api(owner), "Which are still in work?")["content"] == (
        "Still in work: 1.\n\n- tower\\.md (Markdown)"
    )


def test_a_summary_quotes_from_all_of_the_document_in_order(
    owner: User, library: dict[str, Document], processed: Callable[..., Document], api: Callable[..., APIClient]
) -> None:
    report = processed(owner, LONG, "long report.md")
    message = answered(api(owner), "Summarise long report.md")
    cited = message["citations"]
    assert {citation["document"] for citation in cited} == {str(report.id)}
    starts = [citation["start"] for citation in cited]
    assert starts == sorted(starts)
    assert starts[0] < len(LONG) / 12
    assert starts[-1] > len(LONG) * 0.8
    assert all(LONG[citation["start"] : citation["end"]] == citation["quote"] for citation in cited)
    assert all(citation["verified"] for citation in cited)


def test_this_document_is_the_only_one_in_scope_and_else_it_is_searched_for(
    owner: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    only = answered(api(owner), "Summarise this document", documents=[str(library["tower"].id)])
    assert {citation["filename"] for citation in only["citations"]} == {"tower.md"}
    unclear = answered(api(owner), "Summarise this document")
    assert RetrievalTrace.objects.get(message=unclear["id"]).query == "Summarise this document"


def test_an_overview_and_a_comparison_quote_from_each_document(
    owner: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    for question in ("What are my documents about?", "Compare rhine.md and tower", "Vergleiche tower.md mit rhine"):
        message = answered(api(owner), question)
        assert {citation["filename"] for citation in message["citations"]} == {"rhine.md", "tower.md"}, question


def test_a_summary_of_somebody_elses_document_is_not_given(
    stranger: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    assert answered(api(stranger), "Summarise rhine.md")["citations"] == []


def test_a_model_sums_up_all_of_a_long_document_part_by_part(
    owner: User, model: Server, processed: Callable[..., Document], api: Callable[..., APIClient]
) -> None:
    processed(owner, LONG.replace("\n\n", "\n\n" + "Filling words stand here. " * 60), "long.md")
    message = answered(api(owner), "Summarise long.md")
    assert message["status"] == "complete"
    assert message["engine"] == "openai"
    assert "parts" in message["timings"]


def test_a_named_file_is_where_the_answer_comes_from(
    owner: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    message = answered(api(owner), "According to tower.md, what flows through Basel and is long?")
    places = RetrievalTrace.objects.get(message=message["id"]).passages
    assert {place["document"] for place in places} == {str(library["tower"].id)}


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("What does “master plan.pdf” say?", {"master plan.pdf"}),
        ("According to Master Plan.pdf, when?", {"master plan.pdf"}),
        ("What is in plan.pdf?", {"plan.pdf"}),
        ("plan.pdfには何がありますか", {"plan.pdf"}),
        ("Compare plan.pdf with master plan.pdf", {"plan.pdf", "master plan.pdf"}),
        ("Is there a plan?", None),
        ("Is version 2.10 in secret.pdf?", None),
    ],
)
def test_file_names_in_a_question_narrow_its_scope(
    owner: User, stranger: User, question: str, named: set[str] | None, stored: Callable[..., Document]
) -> None:
    ids = {name: stored(owner, name).id for name in ("master plan.pdf", "plan.pdf", "other.pdf")}
    stored(stranger, "secret.pdf")
    found = narrowed(Scope(owner.pk), question)
    assert set(found.documents or ()) == ({ids[name] for name in named} if named else set())


def test_a_name_outside_the_scope_does_not_leave_it(owner: User, stored: Callable[..., Document]) -> None:
    inside, outside = stored(owner, "in.pdf"), stored(owner, "out.pdf")
    scope = Scope(owner.pk, documents=(inside.id,))
    assert narrowed(scope, "What does out.pdf say?") == scope
    assert outside.id not in (narrowed(scope, "in.pdf and out.pdf?").documents or ())


@pytest.fixture
def stored() -> Callable[..., Document]:
    def make(user: User, name: str) -> Document:
        return Document.objects.create(
            owner=user, filename=name, content_type="application/pdf", size=1, sha256=f"{user.pk}{name}".encode()[:32]
        )

    return make


def test_a_document_of_two_thousand_pages_is_sampled_from_beginning_to_end() -> None:
    positions = sampled_positions(10_000, MOST_CHUNKS)
    assert len(positions) == len(set(positions)) == MOST_CHUNKS
    assert positions[:8] == list(range(8))
    assert positions[-1] > 9_900


def test_a_summary_does_not_say_the_same_twice() -> None:
    same = "The bridge over the river was built in the year 1890 by the city."
    sentences = main_sentences([hit(f"{same} {same} The bells of the tower weigh about ten heavy tonnes.", start=0)], 3)
    assert len({entry.as_passage_text.text for entry in sentences[:2]}) == len(sentences[:2])


@pytest.mark.parametrize(
    ("before", "question", "whole"),
    [
        (["What was Apple's revenue in 2018?"], "And in 2019?", "What was Apple's revenue in 2019?"),
        (["What was Apple's revenue in 2018?"], "What about NVIDIA?", "What was NVIDIA's revenue in 2018?"),
        (["What was the margin in Q1 2023?"], "And in Q3 2022?", "What was the margin in Q3 2022?"),
        (["What was it in 2018?", "And in 2019?"], "And in 2020?", "What was it in 2020?"),
        (["Wie lang ist der Rhein?"], "Und die Donau?", "Wie lang ist der Donau?"),
        (["売上高は2022年にいくらでしたか"], "2023年は?", "売上高は2023年にいくらでしたか"),
        (["Who built the tower?"], "When did he die?", "Who built the tower? When did he die?"),
        (["Who built the tower?"], "Why?", "Who built the tower? Why?"),
        (["Who built the tower?"], "How long is the Rhine?", "How long is the Rhine?"),
        (["Who built it?"], "What is the law that Newton found in 1687?", "What is the law that Newton found in 1687?"),
        ([], "And in 2019?", "And in 2019?"),
    ],
)
def test_a_follow_up_is_made_self_contained_by_rules(before: list[str], question: str, whole: str) -> None:
    history = [turn for asked in before for turn in (Turn("user", asked), Turn("assistant", "So."))]
    assert self_contained(question, history) == whole


def test_a_whole_question_is_not_elliptic() -> None:
    assert elliptic_rest("And what is the capital of Peru?") == ""
    assert elliptic_rest("And in 2019?") == "in 2019"


def second_query(client: APIClient, follow_up: str) -> tuple[str, dict[str, Any]]:
    conversation = new_conversation(client)
    ask(client, conversation, "How long is the Rhine?")
    message = ask(client, conversation, follow_up).json()
    return RetrievalTrace.objects.get(message=message["id"]).query, message


def test_without_a_model_the_rules_rewrite(
    owner: User, library: dict[str, Document], api: Callable[..., APIClient]
) -> None:
    query, message = second_query(api(owner), "And the Danube?")
    assert query == "How long is the Danube?"
    assert "rewrite" not in message["timings"]


def test_the_model_rewrites_a_follow_up_and_its_time_is_kept(
    owner: User, model: Server, library: dict[str, Document], api: Callable[..., APIClient], monkeypatch: Any
) -> None:
    from chat.engines.openai import OpenAIEngine

    asked: list[str] = []

    def complete(_engine: Any, messages: list[dict[str, str]], writer: Any) -> None:
        asked.append(json.dumps(messages))
        writer.write("How long is the river Danube?")

    monkeypatch.setattr(OpenAIEngine, "complete", complete)
    query, message = second_query(api(owner), "And the Danube?")
    assert query == "How long is the river Danube?"
    assert "How long is the Rhine?" in asked[0]
    assert 0 <= message["timings"]["rewrite"] <= message["timings"]["retrieval"]
    second_query(api(owner), "How long is the Danube?")
    assert len(asked) == 1, "a question that stands alone needs no model"


def test_a_model_that_says_something_else_than_a_question_leaves_it_to_the_rules(
    owner: User, model: Server, library: dict[str, Document], api: Callable[..., APIClient], monkeypatch: Any
) -> None:
    from chat.engines.openai import OpenAIEngine

    monkeypatch.setattr(OpenAIEngine, "complete", lambda _e, _m, writer: writer.write("Sure!\n\n" + "word " * 200))
    assert second_query(api(owner), "And the Danube?")[0] == "How long is the Danube?"


def test_a_model_that_dawdles_is_not_waited_for(settings: LazySettings, monkeypatch: Any) -> None:
    from chat.answers.running import StopFlag
    from chat.engines import rewriting

    class Dawdling:
        def complete(self, messages: list[dict[str, str]], writer: Any) -> None:
            while True:
                writer.stop.wait(60)

    monkeypatch.setattr(rewriting, "PATIENCE_SECONDS", 0.05)
    assert rewriting.rewritten(Dawdling(), "And?", [Turn("user", "Why?")], 1, StopFlag()) == ""
