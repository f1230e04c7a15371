"""What remains of a deleted document in conversations."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from rest_framework.test import APIClient

from chat import services
from chat.answers import streams
from chat.answers.board import board
from chat.answers.events import Event
from chat.answers.question import Question
from chat.answers.sweeping import mark_interrupted
from chat.models import Citation, Message, MessageBody, RetrievalTrace
from chat.representations import citation_json
from chat.scopes import scope_of
from documents.models import Document
from documents.services import delete_documents
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION, RHINE, Frames, ask, ask_streamed, new_conversation, wait_for
from tests.load.mock_model import Server

Client = Callable[..., APIClient]

RIVER = "It is 1,230 kilometres long and flows through Basel."
SHIPS = "Ships carry coal and ore on it."


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
    wait_for(lambda: board().get(UUID(identifier)) is None)
    assert streams.read(UUID(identifier)) == []


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


def test_the_events_of_an_answer_that_does_not_cite_a_document_never_name_it(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    client = api(owner)
    events = list(Frames(ask_streamed(client, new_conversation(client), "Who won the football championship in 1954?")))
    (found,) = [event.data["passages"] for event in events if event.name == "passages"]
    assert str(library["rhine"].id) in {passage["document"] for passage in found}
    assert events[-1].data["message"]["citations"] == []
    assert "rhine.md" not in "".join(event.payload for event in events)


def left_behind(message: Message, *written: tuple[str, dict[str, Any]]) -> None:
    """The answer's process dies after these events."""
    with streams.redis().pipeline(transaction=False) as pipeline:
        streams.add(pipeline, message.id, [Event.of(number, *event) for number, event in enumerate(written, 1)])
        pipeline.execute()
    assert mark_interrupted(message.id)


def running_answer(owner: User) -> Message:
    """A question was asked; its answer is not being produced."""
    conversation = services.create_conversation(owner=owner)
    return services._store_question(conversation, Question(QUESTION, scope_of(conversation)), None)[1]


def quoted(document: Document, quote: str, marker: int = 1) -> list[tuple[str, dict[str, Any]]]:
    start = RHINE.index(quote)
    citation = Citation(
        marker=marker, document_id=document.id, filename="rhine.md", start=start, end=start + len(quote), quote=quote
    )
    return [("token", {"text": f"{quote} [{marker}]"}), ("citation", {"citation": citation_json(citation)})]


def test_an_interrupted_answer_loses_the_words_of_a_deleted_document_too(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    message = running_answer(owner)
    left_behind(message, *quoted(library["rhine"], RIVER))
    path = f"/api/v1/messages/{message.id}"
    assert api(owner).get(path).json()["engine"] == "extractive"
    assert api(owner).get(path).json()["content"] == f"{RIVER} [1]"
    delete_documents(owner_id=owner.pk, documents=[library["rhine"].id])
    assert api(owner).get(path).json()["content"] == "[…] [1]"


def test_an_answer_of_an_unknown_engine_loses_them_as_well(owner: User, library: dict[str, Document]) -> None:
    message = running_answer(owner)
    Message.objects.filter(id=message.id).update(engine="")
    left_behind(message, *quoted(library["rhine"], RIVER))
    delete_documents(owner_id=owner.pk, documents=[library["rhine"].id])
    assert MessageBody.objects.get(message=message).content == "[…] [1]"


def test_an_answer_interrupted_after_the_deletion_keeps_nothing_of_the_document(
    owner: User, library: dict[str, Document]
) -> None:
    message = running_answer(owner)
    delete_documents(owner_id=owner.pk, documents=[library["rhine"].id])
    left_behind(message, *quoted(library["rhine"], RIVER))
    assert MessageBody.objects.get(message=message).content == "[…] [1]"
    assert not Citation.objects.exists()
    assert streams.read(message.id) == []


def test_a_quote_whose_citation_never_came_is_not_kept(owner: User, library: dict[str, Document]) -> None:
    message = running_answer(owner)
    left_behind(message, *quoted(library["rhine"], RIVER), *quoted(library["rhine"], SHIPS, 2)[:1])
    assert MessageBody.objects.get(message=message).content == f"{RIVER} [1]"


def test_an_interrupted_answer_in_a_models_words_is_kept_whole(
    owner: User, library: dict[str, Document], model: Server
) -> None:
    message = running_answer(owner)
    left_behind(message, *quoted(library["rhine"], RIVER), *quoted(library["rhine"], SHIPS, 2)[:1])
    delete_documents(owner_id=owner.pk, documents=[library["rhine"].id])
    assert MessageBody.objects.get(message=message).content == f"{RIVER} [1]{SHIPS} [2]"


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
