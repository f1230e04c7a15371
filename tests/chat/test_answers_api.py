"""Asking, and following the answer."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from rest_framework.test import APIClient

from chat import seats
from chat.answers import producer
from chat.answers.board import board
from chat.models import Citation, Conversation, Message, MessageBody, RetrievalTrace
from documents.models import Document, DocumentText
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION, Frames, ask, ask_streamed, new_conversation, parse_frames, use, wait_for
from tests.load.mock_model import Server

Client = Callable[..., APIClient]
Library = dict[str, Document]
ASKED = {"role": "user", "content": QUESTION}


def test_a_question_is_answered_with_citations_whose_quotes_stand_in_the_document(
    owner: User, api: Client, library: Library
) -> None:
    client = api(owner)
    response = ask(client, new_conversation(client))
    assert response.status_code == 201
    answer = response.json()
    assert answer["status"] == "complete"
    assert answer["engine"] == "extractive"
    assert "1,230 kilometres" in answer["content"]
    assert answer["citations"]
    for citation in answer["citations"]:
        text = DocumentText.objects.get(document=citation["document"]).text
        assert text[citation["start"] : citation["end"]] == citation["quote"]
        assert citation["verified"] is True
        assert citation["filename"] == "rhine.md"
        assert f"[{citation['marker']}]" in answer["content"]


def test_the_answer_says_plainly_when_the_documents_hold_none(owner: User, api: Client, library: Library) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client), "Wer hat den Fußballpokal gewonnen?").json()
    assert answer["content"] == "In Ihren Dokumenten steht dazu keine Antwort."
    assert answer["citations"] == []


def test_an_empty_library_answers_too(owner: User, api: Client, fake_encoder: Any) -> None:
    client = api(owner)
    assert ask(client, new_conversation(client)).json()["content"] == "Your documents do not answer this."


def test_a_stream_has_the_events_of_the_contract_in_order(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    client = api(owner)
    response = ask_streamed(client, new_conversation(client))
    assert response["Cache-Control"] == "no-store"
    assert response["X-Accel-Buffering"] == "no"
    events = list(Frames(response))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.data["stage"] for event in events if event.name == "status"] == ["searching", "reading", "writing"]
    done = events[-1].data["message"]
    assert events[-1].name == "done"
    assert events[0].data["message"] == done["id"]
    assert "".join(event.data["text"] for event in events if event.name == "token") == done["content"]
    assert [e.data["citation"]["marker"] for e in events if e.name == "citation"] == [1, 2]
    assert all("text" not in event.data for event in events if event.name != "token")
    assert events[1].data["passages"][0]["document"] in {str(document.id) for document in library.values()}
    assert client.get(f"/api/v1/messages/{done['id']}").json() == done


def test_the_row_of_an_answer_is_whole_when_it_is_done(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    message = Message.objects.get(id=answer["id"])
    assert (message.status, message.engine, message.model) == ("complete", "openai", "mock")
    assert message.completion_tokens == 12
    assert set(message.timings) == {"retrieval", "first_token", "support", "total"}
    assert message.body.content == answer["content"]
    assert RetrievalTrace.objects.get(message=message).query == QUESTION


def test_the_scope_of_conversation_and_message_is_kept(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    client = api(owner)
    tower, rhine = str(library["tower"].id), str(library["rhine"].id)
    conversation = new_conversation(client, documents=[tower])
    searched = Frames(ask_streamed(client, conversation)).until("passages").data["passages"]
    assert {passage["document"] for passage in searched} == {tower}
    wait_for(lambda: not Message.objects.running().exists())
    answer = ask(client, conversation, documents=[rhine]).json()
    trace = RetrievalTrace.objects.get(message=answer["id"])
    assert {passage["document"] for passage in trace.passages} == {rhine}
    assert trace.scope == {"documents": [rhine], "collections": None}


def test_a_scope_whose_documents_are_all_deleted_finds_nothing(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    client = api(owner)
    conversation = new_conversation(client, documents=[str(library["tower"].id)])
    client.delete(f"/api/v1/documents/{library['tower'].id}")
    assert client.get(f"/api/v1/conversations/{conversation}").json()["documents"] == []
    assert Frames(ask_streamed(client, conversation)).until("passages").data["passages"] == []


@pytest.mark.parametrize("content", ["", "   ", "x" * 20_001, None, ["a"]])
def test_a_question_that_cannot_be_asked_is_refused_by_field(owner: User, api: Client, content: Any) -> None:
    client = api(owner)
    response = client.post(f"/api/v1/conversations/{new_conversation(client)}/messages", {"content": content})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert "content" in response.json()["errors"]


def test_strangers_deactivated_and_anonymous_callers_cannot_ask_or_read(
    owner: User, stranger: User, api: Client, library: Library
) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    message = ask(client, conversation).json()["id"]
    calls = [
        ("post", f"/api/v1/conversations/{conversation}/messages"),
        ("get", f"/api/v1/conversations/{conversation}/messages"),
        ("get", f"/api/v1/messages/{message}"),
        ("get", f"/api/v1/messages/{message}/events"),
        ("post", f"/api/v1/messages/{message}/stop"),
    ]
    owner.is_active = False
    owner.save()
    for method, path in calls:
        for caller, status in ((api(stranger), 404), (api(), 401), (client, 401)):
            assert getattr(caller, method)(path, {"content": "x"}).status_code == status, (method, path)


def test_a_second_question_while_an_answer_runs_is_a_conflict(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    frames = Frames(ask_streamed(client, conversation))
    frames.until("token")
    response = ask(client, conversation)
    assert response.status_code == 409
    assert response.json()["code"] == "answer_in_progress"
    assert Message.objects.filter(role="user").count() == 1
    client.post(f"/api/v1/messages/{Message.objects.running().get().id}/stop")


def test_a_stopped_answer_keeps_what_was_written_and_closes_the_model(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    identifier = next(frames).data["message"]
    frames.until("token")
    response = client.post(f"/api/v1/messages/{identifier}/stop")
    assert response.status_code == 202
    done = frames.until("done").data["message"]
    assert done["status"] == "stopped"
    assert "passages" in done["content"] or done["content"]
    assert MessageBody.objects.get(message=identifier).content == done["content"]
    wait_for(lambda: slow_model.closed == 1)
    assert client.post(f"/api/v1/messages/{identifier}/stop").status_code == 202


def test_an_answer_stops_while_the_model_has_not_said_a_word(
    owner: User, api: Client, library: Library, model: Server, settings: LazySettings
) -> None:
    use(settings, model, "hang")
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    identifier = next(frames).data["message"]
    client.post(f"/api/v1/messages/{identifier}/stop")
    done = frames.until("done").data["message"]
    assert (done["status"], done["content"]) == ("stopped", "")


def test_a_lost_connection_resumes_after_the_last_event_that_was_seen(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    client = api(owner)
    response = ask_streamed(client, new_conversation(client))
    frames = Frames(response)
    identifier = next(frames).data["message"]
    seen = [frames.until("token"), next(frames)]
    response.close()
    again = client.get(f"/api/v1/messages/{identifier}/events", HTTP_LAST_EVENT_ID=str(seen[-1].id))
    rest = Frames(again)
    assert next(rest).id == seen[-1].id + 1
    client.post(f"/api/v1/messages/{identifier}/stop")
    assert [event.name for event in rest][-1] == "done"


def test_an_answer_whose_reader_went_away_is_finished_and_stored(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    client = api(owner)
    response = ask_streamed(client, new_conversation(client))
    identifier = next(Frames(response)).data["message"]
    response.close()
    wait_for(lambda: not Message.objects.running().exists())
    assert client.get(f"/api/v1/messages/{identifier}").json()["status"] == "complete"


def test_a_finished_answer_is_replayed_whole_from_the_stream_and_from_the_database(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    from chat.answers import streams

    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    path = f"/api/v1/messages/{answer['id']}/events"
    wait_for(lambda: board().get(Message.objects.get(id=answer["id"]).id) is None)
    from_stream = list(Frames(client.get(path)))
    streams.forget([Message.objects.get(id=answer["id"]).id])
    from_database = list(Frames(client.get(path)))
    for events in (from_stream, from_database):
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert "".join(event.data["text"] for event in events if event.name == "token") == answer["content"]
        assert [e.data["citation"] for e in events if e.name == "citation"] == answer["citations"]
        assert events[-1].name == "done"
        assert events[-1].data["message"] == answer
    rest = list(Frames(client.get(path, HTTP_LAST_EVENT_ID="4")))
    assert [(event.id, event.name) for event in rest] == [(5, "done")]


def test_a_question_has_no_events(owner: User, api: Client, library: Library) -> None:
    client = api(owner)
    ask(client, new_conversation(client))
    question = Message.objects.get(role="user")
    assert client.get(f"/api/v1/messages/{question.id}/events").status_code == 404


def test_deleting_the_conversation_ends_its_running_answer(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    frames = Frames(ask_streamed(client, conversation))
    identifier = next(frames).data["message"]
    frames.until("token")
    assert client.delete(f"/api/v1/conversations/{conversation}").status_code == 204
    assert frames.until("error").data["code"] == "deleted"
    assert client.get(f"/api/v1/messages/{identifier}/events").status_code == 404
    assert not Message.objects.exists()
    assert not MessageBody.objects.exists()
    assert not Citation.objects.exists()


def test_deleting_the_conversation_by_other_ways_ends_its_answer_within_seconds(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    frames.until("token")
    Conversation.objects.all().delete()
    assert frames.until("error").data["code"] == "deleted"


def test_the_answers_of_a_deactivated_user_stop(owner: User, api: Client, library: Library, slow_model: Server) -> None:
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    frames.until("token")
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert frames.until("error").data["code"] == "account_deactivated"
    assert Message.objects.get(role="assistant").status == "stopped"


def test_an_answer_that_is_waited_for_is_refused_when_its_owner_is_deactivated(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    def deactivate() -> None:
        wait_for(lambda: Message.objects.running().exists())
        User.objects.filter(pk=owner.pk).update(is_active=False)
        connection.close()

    client = api(owner)
    conversation, shutting_out = new_conversation(client), Thread(target=deactivate)
    shutting_out.start()
    response = ask(client, conversation)
    shutting_out.join()
    assert (response.status_code, response.json()["code"]) == (403, "account_deactivated")


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("refuse", 502, "model_unreachable"),
        ("500", 502, "model_rejected"),
        ("400", 422, "context_too_long"),
        ("cut", 502, "model_unreachable"),
        ("error", 502, "model_rejected"),
        ("bad", 502, "model_rejected"),
        ("hang", 504, "model_timeout"),
        ("stall", 504, "model_timeout"),
    ],
)
def test_a_model_that_fails_gives_a_clear_error_and_a_failed_message(
    owner: User,
    api: Client,
    library: Library,
    model: Server,
    settings: LazySettings,
    mode: str,
    status: int,
    code: str,
) -> None:
    settings.LLM_TIMEOUT_SECONDS = 0.5
    use(settings, model, mode)
    client = api(owner)
    conversation = new_conversation(client)
    response = ask(client, conversation)
    assert (response.status_code, response.json()["code"]) == (status, code)
    message = Message.objects.get(role="assistant")
    assert (message.status, message.error_code) == ("failed", code)
    written = client.get(f"/api/v1/messages/{message.id}").json()["content"]
    assert bool(written) == (mode in ("cut", "error", "bad", "stall"))
    use(settings, model)
    assert ask(client, conversation).status_code == 201


def test_a_model_that_is_not_there_is_told(owner: User, api: Client, library: Library, settings: LazySettings) -> None:
    settings.LLM_BASE_URL = "http://127.0.0.1:1/v1"
    client = api(owner)
    events = list(Frames(ask_streamed(client, new_conversation(client))))
    assert events[-1].name == "error"
    assert events[-1].data["code"] == "model_unreachable"
    assert events[-1].data["message"]["status"] == "failed"


def test_a_slow_model_is_waited_for(
    owner: User, api: Client, library: Library, model: Server, settings: LazySettings
) -> None:
    use(settings, model, "slow")
    client = api(owner)
    assert ask(client, new_conversation(client)).json()["status"] == "complete"


def test_a_search_without_an_encoder_goes_by_words(
    owner: User, api: Client, library: Library, fake_encoder: Any
) -> None:
    fake_encoder.down = True
    client = api(owner)
    assert "1,230" in ask(client, new_conversation(client)).json()["content"]


def test_the_same_idempotency_key_asks_once(owner: User, api: Client, library: Library, model: Server) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    path = f"/api/v1/conversations/{conversation}/messages"
    first = client.post(path, {"content": QUESTION}, HTTP_IDEMPOTENCY_KEY="k1")
    again = client.post(path, {"content": QUESTION}, HTTP_IDEMPOTENCY_KEY="k1")
    streamed = client.post(path, {"content": QUESTION}, HTTP_IDEMPOTENCY_KEY="k1", HTTP_ACCEPT="text/event-stream")
    other = client.post(path, {"content": "Something else?"}, HTTP_IDEMPOTENCY_KEY="k1")
    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    assert Frames(streamed).until("done").data["message"] == first.json()
    assert other.status_code == 422
    assert Message.objects.filter(role="user").count() == 1


@pytest.mark.parametrize(("status", "code"), [("failed", "database_unavailable"), ("interrupted", "")])
def test_an_answer_that_failed_is_tried_again_with_the_same_key(
    owner: User, api: Client, library: Library, model: Server, status: str, code: str
) -> None:
    client = api(owner)
    path = f"/api/v1/conversations/{new_conversation(client)}/messages"
    first = client.post(path, {"content": QUESTION}, HTTP_IDEMPOTENCY_KEY="k1").json()
    Message.objects.filter(id=first["id"]).update(status=status, error_code=code)
    again = client.post(path, {"content": QUESTION}, HTTP_IDEMPOTENCY_KEY="k1")
    assert again.status_code == 201
    assert again.json()["id"] != first["id"]


def test_too_many_answers_at_once_are_told_to_come_again(
    owner: User, api: Client, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(producer, "_free_slots", threading.BoundedSemaphore(1))
    client = api(owner)
    conversation = new_conversation(client)
    with producer.reserved():
        response = ask(client, conversation)
    assert (response.status_code, response.json()["code"]) == (503, "too_busy")
    assert response["Retry-After"]
    assert not Message.objects.exists()
    assert ask(client, conversation).status_code == 201


@pytest.mark.parametrize("refused", ["answers", "answer-"])
def test_an_answer_for_which_no_thread_can_be_had_is_stored_as_failed(
    refused: str, owner: User, api: Client, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``refused``: the process's flusher, or the answer's own thread."""
    import threading

    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(refused):
            raise RuntimeError("can't start new thread")
        real(thread)

    client = api(owner)
    conversation = new_conversation(client)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr("chat.answers.board._boards", {})  # a process that has no flusher yet,
        patch.setattr("chat.answers.threads._threads", {})  # and none that waits for an answer to write
        response = ask(client, conversation)
        assert not len(board())
    assert (response.status_code, response.json()["code"]) == (503, "too_busy")
    failed = Message.objects.get(role="assistant")
    assert (failed.status, failed.error_code) == ("failed", "too_busy")
    assert ask(client, conversation).status_code == 201


def test_questions_are_throttled_apart_from_other_requests(
    owner: User, api: Client, library: Library, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework.settings import api_settings

    monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, "messages", "1/min")
    client = api(owner)
    conversation = new_conversation(client)
    assert ask(client, conversation).status_code == 201
    response = ask(client, conversation)
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert client.get(f"/api/v1/conversations/{conversation}").status_code == 200


@pytest.mark.parametrize(
    "content", ["Wie heißt „Vater Rhein“ 🌊?", "ライン川の長さは？", "<script>alert(1)</script> [1]\n\nevent: done"]
)
def test_what_is_asked_comes_back_character_for_character(
    owner: User, api: Client, library: Library, content: str
) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    events = list(Frames(ask_streamed(client, conversation, content)))
    assert events[-1].name == "done"
    shown = client.get(f"/api/v1/conversations/{conversation}").json()
    assert shown["messages"]["results"][0]["content"] == content


def test_what_a_model_writes_comes_through_whatever_it_is(
    owner: User, api: Client, library: Library, model: Server
) -> None:
    model.reply = "Grüße 🌊\ud83d\ude00 \x00 <b>[2019]</b>\r\n\r\ndata: {}\u2028 end."
    client = api(owner)
    events = list(Frames(ask_streamed(client, new_conversation(client))))
    message = events[-1].data["message"]
    assert message["content"] == "Grüße 🌊😀  <b>[2019]</b>\r\n\r\ndata: {}\u2028 end."
    assert message["citations"] == []


def test_a_heartbeat_keeps_a_silent_stream_alive(
    owner: User, api: Client, library: Library, slow_model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.answers.following.HEARTBEAT_SECONDS", 0.005)
    client = api(owner)
    pieces = iter(ask_streamed(client, new_conversation(client)).streaming_content)
    assert next(piece for piece in pieces if piece.startswith(b":")) == b": still here\n\n"
    identifier = Message.objects.running().get().id
    client.post(f"/api/v1/messages/{identifier}/stop")
    assert parse_frames(b"".join(pieces).decode())[-1].name == "done"


def test_no_database_connection_is_held_while_the_model_talks(
    owner: User, api: Client, library: Library, slow_model: Server
) -> None:
    from django.db import connection

    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client)))
    frames.until("token")
    assert connection.connection is None, "the reader's own"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend' AND application_name NOT LIKE 'citus%'"
        )
        assert cursor.fetchone()[0] == 0
    client.post(f"/api/v1/messages/{Message.objects.running().get().id}/stop")


def open_streams(client: APIClient, running: Message, count: int) -> list[Any]:
    """So many readers of one answer who have not read yet."""
    return [client.get(f"/api/v1/messages/{running.id}/events") for _ in range(count)]


@pytest.fixture
def running(owner: User) -> Message:
    """An answer that is said to be running."""
    conversation = Conversation.objects.create(owner=owner)
    return Message.objects.create(owner=owner, conversation=conversation, role="assistant", status="running")


def test_a_user_has_so_many_answers_open_at_the_same_time_and_no_more(
    owner: User, stranger: User, api: Client, running: Message, settings: LazySettings
) -> None:
    settings.STREAMS_PER_USER = 2
    client = api(owner)
    first, second, third = open_streams(client, running, 3)
    assert (third.status_code, third.json()["code"]) == (429, "too_many_streams")
    assert third["Retry-After"]
    question = ask(client, new_conversation(client))
    assert (question.status_code, question.json()["code"]) == (429, "too_many_streams")
    completion = client.post("/v1/chat/completions", {"model": "ragsite", "messages": [ASKED]})
    assert (completion.status_code, completion.json()["error"]["code"]) == (429, "too_many_streams")
    assert Message.objects.count() == 1, "nothing was asked"
    theirs = api(stranger)
    assert ask(theirs, new_conversation(theirs)).status_code == 201
    first.close()
    first.close()
    again, refused = open_streams(client, running, 2)
    assert (again.status_code, refused.status_code) == (200, 429)
    settings.THROTTLE = False
    (free,) = open_streams(client, running, 1)
    assert free.status_code == 200
    for response in (second, again, free):
        response.close()


def test_readers_leave_threads_of_the_process_to_others(
    owner: User, stranger: User, api: Client, running: Message, settings: LazySettings
) -> None:
    settings.WEB_THREADS, settings.THROTTLE = 4, False
    streams = open_streams(api(owner), running, 3)
    theirs = api(stranger)
    response = ask(theirs, new_conversation(theirs))
    assert (response.status_code, response.json()["code"]) == (503, "too_busy")
    assert response["Retry-After"]
    streams.pop().close()
    assert ask(theirs, new_conversation(theirs)).status_code == 201
    for stream in streams:
        stream.close()


def test_who_is_refused_or_done_keeps_no_seat(owner: User, api: Client, library: Library, running: Message) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    assert ask(client, str(running.conversation_id)).status_code == 409
    assert ask(client, conversation).status_code == 201
    list(Frames(ask_streamed(client, conversation)))
    assert client.post("/v1/chat/completions", {"model": "ragsite", "messages": [ASKED]}).status_code == 200
    stream = client.post("/v1/chat/completions", {"model": "ragsite", "messages": [ASKED], "stream": True})
    assert b"".join(stream.streaming_content).endswith(b"[DONE]\n\n")
    assert not seats._taken


@pytest.mark.parametrize(("threads", "seats_there"), [(1, 1), (4, 3), (256, 224)])
def test_most_threads_may_wait_but_never_all(threads: int, seats_there: int) -> None:
    assert seats.most_seats(threads) == seats_there
