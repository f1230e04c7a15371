"""What remains of a deleted document in conversations."""

from collections.abc import Callable
from typing import Any

from rest_framework.test import APIClient

from chat.answers import streams
from chat.models import Citation, Message, RetrievalTrace
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION, Frames, ask, ask_streamed, new_conversation, wait_for
from tests.load.mock_model import Server

Client = Callable[..., APIClient]


def test_a_quoting_answer_loses_the_words_of_a_deleted_document(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    assert "Basel" in answer["content"]
    assert client.delete(f"/api/v1/documents/{library['rhine'].id}").status_code == 204
    left = client.get(f"/api/v1/messages/{answer['id']}").json()
    assert left["content"] == "[…] [1]"
    (citation,) = left["citations"]
    assert (citation["document"], citation["quote"], citation["filename"]) == (None, "", "")
    assert citation["verified"] is False
    assert citation["note"] == "The document was deleted."
    assert "Basel" not in str(RetrievalTrace.objects.values_list("passages", flat=True))
    assert streams.read(Message.objects.get(id=answer["id"]).id) == []


def test_an_answer_in_a_models_words_stays_without_its_quotes(
    owner: User, api: Client, library: dict[str, Document], model: Server
) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    for document in library.values():
        client.delete(f"/api/v1/documents/{document.id}")
    left = client.get(f"/api/v1/messages/{answer['id']}").json()
    assert left["content"] == answer["content"]
    assert [citation["quote"] for citation in left["citations"]] == ["", ""]


def test_however_a_document_is_deleted_its_quotes_go(owner: User, api: Client, library: dict[str, Document]) -> None:
    client = api(owner)
    ask(client, new_conversation(client))
    Document.objects.filter(id=library["rhine"].id).delete()
    citation = Citation.objects.get()
    assert (citation.document_id, citation.quote, citation.filename, citation.verified) == (None, "", "", False)


def test_a_document_deleted_while_its_answer_is_written_leaves_nothing(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server
) -> None:
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    identifier = next(frames).data["message"]
    frames.until("citation")
    for document in library.values():
        client.delete(f"/api/v1/documents/{document.id}")
    client.post(f"/api/v1/messages/{identifier}/stop")
    assert frames.until("done").data["message"]["citations"] == []
    assert not Citation.objects.exists()


def test_a_quote_of_a_document_deleted_before_it_is_stored_is_left_out(
    owner: User, api: Client, library: dict[str, Document], monkeypatch: Any
) -> None:
    from chat.answers import storing

    real = storing.verified_citations

    def too_late(*args: Any) -> Any:
        Document.objects.all().delete()
        return real(*args)

    monkeypatch.setattr(storing, "verified_citations", too_late)
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    assert (answer["content"], answer["citations"]) == ("[…] [1]", [])


def test_a_document_deleted_between_the_check_and_the_insert_is_left_out_too(
    owner: User, api: Client, library: dict[str, Document], monkeypatch: Any
) -> None:
    from threading import Thread

    from django.db import connection

    from chat.answers import storing

    real, first = storing.verified_citations, [True]

    def delete() -> None:
        Document.objects.all().delete()
        connection.close()

    def raced(*args: Any) -> Any:
        kept = real(*args)
        if first and first.pop():
            thread = Thread(target=delete)
            thread.start()
            thread.join()
        return kept

    monkeypatch.setattr(storing, "verified_citations", raced)
    monkeypatch.setattr(storing, "PAUSES", (0.01,))
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    assert (answer["content"], answer["citations"]) == ("[…] [1]", [])


def test_a_reprocessed_document_keeps_its_citations(owner: User, api: Client, library: dict[str, Document]) -> None:
    from documents.services import reprocess_documents
    from processing import pipeline

    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    reprocess_documents([library["rhine"]])
    while pipeline.process_next():
        pass
    assert client.get(f"/api/v1/messages/{answer['id']}").json()["citations"] == answer["citations"]


def test_the_same_question_is_answered_without_the_deleted_document(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    ask(client, conversation)
    client.delete(f"/api/v1/documents/{library['rhine'].id}")
    wait_for(lambda: not Message.objects.running().exists())
    assert ask(client, conversation, QUESTION).json()["citations"] == []


def test_nothing_of_a_forgotten_answer_reaches_valkey_any_more(owner: User, settings: Any) -> None:
    from chat.answers.board import Board
    from chat.answers.running import RunningAnswer
    from ragsite.fields import new_id

    board, answer = Board(), RunningAnswer(new_id(), owner.pk)
    answer.emit("token", {"text": "secret"})
    board._running[answer.id] = answer
    board.forget([answer.id])
    answer.emit("done", {"message": {"content": "secret"}})
    board.finished(answer)
    wait_for(lambda: board.get(answer.id) is None)
    assert streams.read(answer.id) == []
