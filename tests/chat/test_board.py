"""Answers across processes: followed, stopped, interrupted. A second board in this process stands for another one."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.conf import LazySettings
from django.utils import timezone
from rest_framework.test import APIClient

from chat.answers import board as boards
from chat.answers import following, streams
from chat.answers.board import Board, board
from chat.answers.events import Event
from chat.answers.running import RunningAnswer, StopReason
from chat.answers.sweeping import mark_interrupted, sweep
from chat.deactivating import end_answers
from chat.models import Conversation, Message
from chat.services import stop_answer
from chat.tasks import sweep_interrupted
from documents.models import Document
from ragsite.accounts.models import User
from ragsite.accounts.services import activate_users, deactivate_users
from tests.chat.conftest import QUESTION, Frames, ask, ask_streamed, new_conversation, use, wait_for
from tests.load.mock_model import Server, Times, running_mock
from tests.load.site import database_url

Client = Callable[..., APIClient]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """``elsewhere(call)``: make a call as if in another web process."""
    other = Board()

    def call(what: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(following, "board", lambda: other)
            patch.setattr("chat.services.board", lambda: other)
            return what()

    return call


@pytest.fixture
def valkey_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to take Valkey away."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    nowhere = Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    return lambda: monkeypatch.setattr(streams, "redis", lambda: nowhere)


@pytest.fixture
def valkey_refuses(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Call the first and Valkey reads but refuses to write, as with full memory or a failed snapshot; then the second.

    By a user who may not write: the whole server is not this test's alone.
    """
    from redis import ConnectionPool, Redis

    real, pool = streams.redis, streams.redis().connection_pool
    real().acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-set", "-xadd"])
    reader = {**pool.connection_kwargs, "username": "reader", "password": "any"}
    refusing = Redis(connection_pool=ConnectionPool(pool.connection_class, **reader))
    monkeypatch.setattr(boards, "VALKEY_PAUSE_SECONDS", 0.05)
    yield (
        lambda: monkeypatch.setattr(streams, "redis", lambda: refusing),
        lambda: monkeypatch.setattr(streams, "redis", real),
    )
    refusing.close()


def begun(client: APIClient) -> tuple[Frames, Message]:
    frames = Frames(ask_streamed(client, new_conversation(client)))
    identifier = next(frames).data["message"]
    frames.until("token")
    return frames, Message.objects.get(id=identifier)


def test_another_process_follows_an_answer_from_its_beginning(
    owner: User, api: Client, library: dict[str, Document], model: Server, elsewhere: Any
) -> None:
    _, message = begun(api(owner))
    seen = [event for batch in elsewhere(lambda: list(following.follow(message))) for event in batch]
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].name == "done"
    assert "".join(e.data["text"] for e in seen if e.name == "token") == seen[-1].data["message"]["content"]


def test_another_process_goes_on_after_an_event(
    owner: User, api: Client, library: dict[str, Document], model: Server, elsewhere: Any
) -> None:
    _, message = begun(api(owner))
    seen = [event for batch in elsewhere(lambda: list(following.follow(message, 3))) for event in batch]
    assert seen[0].id == 4


def test_another_process_stops_an_answer(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, elsewhere: Any
) -> None:
    frames, message = begun(api(owner))
    elsewhere(lambda: stop_answer(message=message))
    assert frames.until("done").data["message"]["status"] == "stopped"


def test_without_valkey_an_answer_streams_is_stored_and_is_stopped_through_the_database(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, valkey_down: Any, elsewhere: Any
) -> None:
    valkey_down()
    frames, message = begun(api(owner))
    elsewhere(lambda: stop_answer(message=message))
    done = frames.until("done").data["message"]
    assert done["status"] == "stopped"
    assert Message.objects.get(id=message.id).status == "stopped"


def test_without_valkey_another_process_learns_the_end_from_the_database(
    owner: User, api: Client, library: dict[str, Document], model: Server, valkey_down: Any, elsewhere: Any
) -> None:
    valkey_down()
    _, message = begun(api(owner))
    seen = [event for batch in elsewhere(lambda: list(following.follow(message))) for event in batch]
    assert seen[-1].name == "done"
    assert seen[-1].data["message"]["status"] == "complete"


def test_what_valkey_missed_is_written_when_it_is_back(
    owner: User,
    api: Client,
    library: dict[str, Document],
    slow_model: Server,
    monkeypatch: pytest.MonkeyPatch,
    valkey_down: Any,
) -> None:
    real = streams.redis
    board()._valkey_again_at = 0.0
    frames, message = begun(api(owner))
    valkey_down()
    wait_for(lambda: board()._valkey_again_at)
    frames.until("token")
    real().delete(streams.stream_key(message.id))
    monkeypatch.setattr(streams, "redis", real)
    wait_for(lambda: len(streams.read(message.id)) > 5)
    stop_answer(message=message)
    assert streams.read(message.id)[0].id == 1


def test_what_valkey_refused_to_write_is_written_when_it_takes_writes_again(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, valkey_refuses: Any
) -> None:
    refuse, take_again = valkey_refuses
    frames, message = begun(api(owner))
    wait_for(lambda: streams.read(message.id))
    refuse()
    wait_for(lambda: board()._valkey_failed)
    before = streams.read(message.id)
    assert before, "what was there is kept until it can be replaced"
    for _ in range(3):
        frames.until("token")
    assert streams.read(message.id) == before
    take_again()
    wait_for(lambda: len(streams.read(message.id)) > len(before) + 3)
    assert streams.read(message.id)[: len(before)] == before
    stop_answer(message=message)


def test_a_stream_that_valkey_has_lost_is_written_again_from_its_beginning(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server
) -> None:
    frames, message = begun(api(owner))
    wait_for(lambda: streams.read(message.id))
    streams.redis().delete(streams.stream_key(message.id))
    frames.until("token")
    assert wait_for(lambda: streams.read(message.id))[0].id == 1
    stop_answer(message=message)


def test_an_answer_that_cannot_give_a_sign_of_life_is_not_buried(
    owner: User,
    api: Client,
    library: dict[str, Document],
    slow_model: Server,
    valkey_refuses: Any,
    elsewhere: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse, take_again = valkey_refuses
    monkeypatch.setattr(boards, "SILENCE_SECONDS", 1.0)
    client = api(owner)
    _, message = begun(client)
    wait_for(lambda: streams.read(message.id))
    refuse()
    streams.redis().delete(streams.alive_key(message.id))  # it would expire within ten seconds
    seen: list[Event] = []
    follower = threading.Thread(target=lambda: elsewhere(lambda: [seen.extend(b) for b in following.follow(message)]))
    follower.start()
    monkeypatch.setattr("chat.answers.sweeping.SILENCE_SECONDS", -1)
    monkeypatch.setattr("chat.answers.sweeping.YOUNG", timedelta())
    assert [sweep(), sweep()] == [0, 0]
    follower.join(2.5)
    assert Message.objects.get(id=message.id).status == "running"
    take_again()
    stop_answer(message=message)
    follower.join(15)
    assert (seen[-1].name, seen[-1].data["message"]["status"]) == ("done", "stopped")


def test_a_database_that_lets_wait_does_not_keep_events_from_valkey(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "ALIVE_EVERY_SECONDS", 0.1)
    _, message = begun(api(owner))
    with psycopg2.connect(database_url()) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {User._meta.db_table} IN ACCESS EXCLUSIVE MODE")

        def somebody_waits() -> bool:
            cursor.execute(
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                " WHERE NOT l.granted AND d.datname = current_database()"
            )
            return bool(cursor.fetchone()[0])

        wait_for(somebody_waits)
        before = len(streams.read(message.id))
        wait_for(lambda: len(streams.read(message.id)) > before + 5)
        assert somebody_waits()
    holder.close()
    stop_answer(message=message)


@pytest.mark.parametrize(("numbers", "followed"), [((1, 2, 4, 5), ["token", "token", "error"]), ((3, 4), ["error"])])
def test_a_follower_passes_by_what_comes_after_a_gap(
    numbers: tuple[int, ...],
    followed: list[str],
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Any,
) -> None:
    monkeypatch.setattr(boards, "SILENCE_SECONDS", 0.2)
    message = dead_answer(owner)
    for number in numbers:
        streams.redis().xadd(streams.stream_key(message.id), {"n": "token", "d": '{"text":"x"}'}, id=f"{number}-0")
    seen = [event for batch in elsewhere(lambda: list(following.follow(message))) for event in batch]
    assert [event.name for event in seen] == followed
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].data["message"]["content"] == "x" * (len(seen) - 1)


def dead_answer(owner: User, written: list[tuple[str, dict[str, Any]]] = ()) -> Message:  # type: ignore[assignment]
    """An answer whose process is gone, with what it left in Valkey."""
    message = Message.objects.create(
        owner=owner,
        conversation=Conversation.objects.create(owner=owner),
        role="assistant",
        status="running",
        created_at=timezone.now() - timedelta(seconds=30),
    )
    with streams.redis().pipeline(transaction=False) as pipeline:
        events = [Event.of(number, name, data) for number, (name, data) in enumerate(written, 1)]
        streams.add(pipeline, message.id, events)
        pipeline.execute()
    return message


def test_a_sweep_marks_an_answer_that_gave_no_sign_of_life_twice(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    message = dead_answer(
        owner, [("status", {"stage": "writing"}), ("token", {"text": "As far "}), ("token", {"text": "as here"})]
    )
    assert sweep_interrupted() == 0
    assert Message.objects.get().status == "running"
    monkeypatch.setattr("chat.answers.sweeping.SILENCE_SECONDS", -1)
    assert sweep_interrupted() == 1
    stored = Message.objects.get(id=message.id)
    assert (stored.status, stored.body.content) == ("interrupted", "As far as here")
    assert sweep_interrupted() == 0


def test_a_sweep_leaves_alone_what_lives_is_young_or_cannot_be_known(
    owner: User, monkeypatch: pytest.MonkeyPatch, valkey_down: Any
) -> None:
    monkeypatch.setattr("chat.answers.sweeping.SILENCE_SECONDS", -1)
    living, young = dead_answer(owner), dead_answer(owner)
    Message.objects.filter(id=young.id).update(created_at=timezone.now())
    streams.redis().set(streams.alive_key(living.id), b"1")
    assert [sweep(), sweep()] == [0, 0]
    streams.redis().delete(streams.alive_key(living.id))
    valkey_down()
    assert [sweep(), sweep()] == [0, 0]


def test_a_question_buries_the_dead_answer_that_blocks_its_conversation(
    owner: User, api: Client, library: dict[str, Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = dead_answer(owner, [("status", {"stage": "writing"}), ("token", {"text": "As far"})])
    client = api(owner)
    assert ask(client, str(dead.conversation_id)).status_code == 409  # its sign of life may only be late
    assert ask(client, str(dead.conversation_id)).status_code == 409
    monkeypatch.setattr("chat.answers.sweeping.SILENCE_SECONDS", -1)
    assert ask(client, str(dead.conversation_id)).status_code == 201
    buried = Message.objects.get(id=dead.id)
    assert (buried.status, buried.body.content) == ("interrupted", "As far")


def test_a_question_leaves_an_answer_alone_that_lives_is_young_or_cannot_be_known(
    owner: User, api: Client, monkeypatch: pytest.MonkeyPatch, valkey_down: Any
) -> None:
    monkeypatch.setattr("chat.answers.sweeping.SILENCE_SECONDS", -1)
    client, answer = api(owner), dead_answer(owner)
    path, row = str(answer.conversation_id), Message.objects.filter(id=answer.id)
    assert ask(client, path).status_code == 409
    with streams.redis().pipeline(transaction=False) as pipeline:
        streams.keep_alive(pipeline, answer.id)
        pipeline.execute()
    assert ask(client, path).status_code == 409
    streams.redis().delete(streams.alive_key(answer.id))
    assert ask(client, path).status_code == 409  # the sign of life since then makes this the first look
    row.update(created_at=timezone.now())
    assert ask(client, path).status_code == 409
    row.update(created_at=timezone.now() - timedelta(seconds=30))
    valkey_down()
    assert ask(client, path).status_code == 409
    assert row.get().status == "running"


def test_a_follower_of_a_dead_producer_is_told_and_gets_what_was_written(
    owner: User, monkeypatch: pytest.MonkeyPatch, elsewhere: Any
) -> None:
    monkeypatch.setattr(boards, "SILENCE_SECONDS", 0.2)
    message = dead_answer(owner, [("status", {"stage": "writing"}), ("token", {"text": "As far"})])
    seen = [event for batch in elsewhere(lambda: list(following.follow(message))) for event in batch]
    assert [event.name for event in seen] == ["status", "token", "error"]
    assert seen[-1].data["code"] == "interrupted"
    assert seen[-1].data["message"]["content"] == "As far"


def test_a_producer_that_was_given_up_too_early_stores_its_whole_answer(
    owner: User, api: Client, library: dict[str, Document], settings: LazySettings
) -> None:
    with running_mock(Times(first=20, delay=20, tokens=40, beat=5)) as server:
        use(settings, server)
        frames, message = begun(api(owner))
        assert mark_interrupted(message.id)
        done = frames.until("done").data["message"]
    stored = Message.objects.get(id=message.id)
    assert (stored.status, stored.body.content) == ("complete", done["content"])


def test_answers_of_a_process_that_goes_down_are_stored_as_interrupted(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server
) -> None:
    frames, message = begun(api(owner))
    board().stop_all(StopReason.INTERRUPTED)
    last = frames.until("error").data
    assert last["code"] == "interrupted"
    stored = Message.objects.get(id=message.id)
    assert (stored.status, stored.body.content) == ("interrupted", last["message"]["content"])


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database is not asked about answers, unless somebody tells to."""
    with monkeypatch.context() as patch:
        patch.setattr(boards, "ALIVE_EVERY_SECONDS", 3600)
        board()._look_now.set()
        yield
    board()._look_now.set()


def test_a_deactivated_persons_answers_end_at_once_in_every_process(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, nobody_looks: None, elsewhere: Any
) -> None:
    client = api(owner)
    frames, message = begun(client)
    openai = client.post(
        "/v1/chat/completions",
        {"model": "ragsite", "stream": True, "messages": [{"role": "user", "content": QUESTION}]},
    )
    followed, pieces = following.follow(message), iter(openai.streaming_content)
    elsewhere(lambda: next(followed))
    next(pieces)
    deactivate_users(users=User.objects.filter(pk=owner.pk))
    assert frames.until("error").data["code"] == "account_deactivated"
    assert [event for batch in followed for event in batch][-1].data["code"] == "account_deactivated"
    assert b"account_deactivated" in b"".join(pieces)
    assert Message.objects.get(id=message.id).status == "stopped"


def test_a_follower_learns_from_the_database_that_its_owner_was_deactivated(owner: User, elsewhere: Any) -> None:
    message = dead_answer(owner)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    (last,) = [event for batch in elsewhere(lambda: list(following.follow(message))) for event in batch]
    assert (last.name, last.data["code"]) == ("error", "account_deactivated")


def test_the_answers_of_a_person_who_is_back_go_on(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server
) -> None:
    deactivate_users(users=User.objects.filter(pk=owner.pk))
    activate_users(users=User.objects.filter(pk=owner.pk))
    frames, message = begun(api(owner))
    stop_answer(message=message)
    assert frames.until("done").data["message"]["status"] == "stopped"


def test_without_valkey_a_deactivation_still_ends_the_answers(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server, valkey_down: Any
) -> None:
    valkey_down()
    frames, _ = begun(api(owner))
    end_answers(user=owner)
    deactivate_users(users=User.objects.filter(pk=owner.pk))
    assert frames.until("error").data["code"] == "account_deactivated"


def test_a_database_that_comes_back_gets_the_answer(
    owner: User, api: Client, library: dict[str, Document], model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from chat.answers import storing

    real, calls = storing._store, []

    def flaky(*args: Any) -> Any:
        calls.append(args)
        if len(calls) < 3:
            raise OperationalError("the database system is starting up")
        return real(*args)

    monkeypatch.setattr(storing, "_store", flaky)
    monkeypatch.setattr(storing, "PAUSES", (0.01, 0.01, 0.01))
    client = api(owner)
    assert ask(client, new_conversation(client)).json()["status"] == "complete"
    assert len(calls) == 3


def test_an_answer_whose_commit_was_not_confirmed_any_more_is_there_and_not_deleted(
    owner: User, api: Client, library: dict[str, Document], model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from chat.answers import storing

    real, calls = storing._store, []

    def unconfirmed(*args: Any) -> Any:
        calls.append(args)
        stored = real(*args)
        if len(calls) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return stored

    monkeypatch.setattr(storing, "_store", unconfirmed)
    monkeypatch.setattr(storing, "PAUSES", (0.01, 0.01))
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    assert (answer["status"], len(calls)) == ("complete", 2)
    assert answer["citations"]
    assert client.get(f"/api/v1/messages/{answer['id']}").json()["content"] == answer["content"]


def test_an_answer_that_cannot_be_stored_ends_its_readers_stream(
    owner: User, api: Client, library: dict[str, Document], model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chat.answers import producer

    def fail(*args: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(producer, "store_answer", fail)
    client = api(owner)
    last = list(Frames(ask_streamed(client, new_conversation(client))))[-1]
    assert (last.name, last.data["code"]) == ("error", "not_stored")
    Message.objects.all().delete()
    told = ask(client, new_conversation(client))
    assert (told.status_code, told.json()["code"]) == (503, "not_stored")
    Message.objects.all().delete()


def test_a_log_gives_each_reader_every_event_once() -> None:
    from chat.answers.log import EventLog

    log, seen = EventLog(), []

    def read() -> None:
        seen.append([event.id for batch in following.follow_log(log) for event in batch])

    readers = [threading.Thread(target=read) for _ in range(5)]
    for reader in readers:
        reader.start()
    for number in range(200):
        log.append("token", {"text": str(number)})
    log.append("done", {})
    for reader in readers:
        reader.join(10)
    assert seen == [list(range(1, 202))] * 5


def test_stop_requests_of_unknown_answers_are_passed_by(owner: User) -> None:
    streams.request_stop(UUID(int=1))
    assert board().get(UUID(int=1)) is None


def test_events_that_belong_together_reach_the_readers_at_once() -> None:
    answer = RunningAnswer(uuid4(), 1)
    answer.emit("status", {})
    with pytest.raises(RuntimeError), answer.together():
        answer.emit("token", {"text": "a"})
        answer.emit("citation", {})
        assert [event.name for event in answer.log.after(0)] == ["status"]
        raise RuntimeError  # what was written before is shown all the same
    answer.emit("done", {})
    assert [(event.id, event.name) for event in answer.log.after(0)] == [
        (1, "status"),
        (2, "token"),
        (3, "citation"),
        (4, "done"),
    ]
