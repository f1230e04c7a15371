"""What the statements of a question and its answer write is what the models would."""

from typing import Any
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.db import connection, transaction

from chat import services, statements
from chat.answers import storing
from chat.answers.draft import Draft
from chat.answers.question import Question
from chat.caching import CONVERSATION_DETAIL
from chat.models import Citation, Conversation, Message, MessageBody, RetrievalTrace
from chat.scopes import scope_of
from documents.models import Document
from documents.search import Scope
from ragsite import caching
from ragsite.accounts.models import User
from ragsite.rows import changing_at_once

pytestmark = pytest.mark.django_db(transaction=True)
LINE = "The Rhine flows to the sea."


@pytest.fixture
def caches(settings: LazySettings) -> None:
    settings.CACHES_OFF = set()
    caching.epoch.forget()


def asked(conversation: Conversation, text: str = LINE) -> tuple[Message, Message]:
    return services._store_question(conversation, Question(text, scope_of(conversation)), None)


def values_of(row: Any, *without: str) -> dict[str, Any]:
    return {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields if f.attname not in without}


def a_draft(answer: Message, document: Document | None = None) -> Draft:
    draft = Draft(engine="extractive", query=LINE, parts=[LINE, " [1]"], support={"claims": 1, "supported": 1})
    if document:
        mine = {"owner_id": answer.owner_id, "message_id": answer.id, "document_id": document.id}
        draft.citations = [Citation(marker=1, filename="a.md", start=0, end=5, quote="Rhine", **mine)]
    return draft


def test_a_conversation_is_begun_as_the_model_says(owner: User) -> None:
    scope = Scope(owner.pk, (), (uuid4(),))
    begun = services.create_conversation(owner=owner, title="A", scope=scope, style="short", language_model="m")
    assert values_of(Conversation.objects.get(owner=owner)) == values_of(begun)
    bare = services.create_conversation(owner=owner)
    expected = values_of(Conversation(owner=owner), "id", "created_at", "updated_at")
    assert values_of(Conversation.objects.get(id=bare.id), "id", "created_at", "updated_at") == expected


def test_question_and_answer_are_stored_as_the_models_say(owner: User) -> None:
    conversation = services.create_conversation(owner=owner)
    for message in asked(conversation):
        assert values_of(Message.objects.get(id=message.id)) == values_of(message)
    body = MessageBody.objects.get()
    assert (body.owner_id, body.conversation_id, body.content, body.words) == (owner.pk, conversation.id, LINE, None)


def test_a_question_in_a_script_without_spaces_has_its_words(owner: User) -> None:
    asked(services.create_conversation(owner=owner), "東京の人口は?")
    assert MessageBody.objects.get().words


def test_a_conversation_is_read_with_its_turns_as_the_model_says(owner: User, stranger: User) -> None:
    conversation = services.create_conversation(owner=owner, scope=Scope(owner.pk, (uuid4(), uuid4())))
    assert services.conversation_with_turns(owner.pk, conversation.id) == (conversation, ())
    asked(conversation, "A % and a \\ and an ' and an é")
    found = services.conversation_with_turns(owner.pk, conversation.id)
    assert found is not None
    assert values_of(found[0]) == values_of(Conversation.objects.get())
    assert [(turn.role, turn.content) for turn in found[1]] == [("user", "A % and a \\ and an ' and an é")]
    assert services.recent_turns(conversation) == found[1]
    assert services.conversation_with_turns(stranger.pk, conversation.id) is None


def test_an_answer_is_stored_in_one_message_as_it_is_row_by_row(
    owner: User, library: dict[str, Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, locked, real = [], [], storing._store_locked

    def noted(*given: Any) -> Any:
        locked.append(given)
        return real(*given)

    monkeypatch.setattr(storing, "_store_locked", noted)
    for known in (True, False):
        _, answer = asked(services.create_conversation(owner=owner))
        draft = a_draft(answer, library["rhine"])
        shown = storing.store_answer(answer.id, owner.pk, {"documents": None}, draft, answer if known else None)
        rows = [Message.objects.get(id=answer.id), MessageBody.objects.get(message=answer.id)]
        rows += [Citation.objects.get(message=answer.id), RetrievalTrace.objects.get(message=answer.id)]
        varying = ("id", "message_id", "conversation_id", "created_at", "timings")
        told = {name: value for name, value in shown.items() if name not in (*varying, "conversation")}
        stored.append(([values_of(row, *varying) for row in rows], told))
    assert stored[0] == stored[1]
    assert len(locked) == 1, "the second one's"


def test_every_column_of_a_citation_is_stored(owner: User) -> None:
    written = {*statements.CITED, "owner_id", "message_id", "id"}
    assert written == {field.attname for field in Citation._meta.concrete_fields}


def test_an_answer_that_is_running_no_more_is_not_stored_by_halves(owner: User) -> None:
    _, answer = asked(services.create_conversation(owner=owner))
    Message.objects.filter(id=answer.id).update(status="complete")
    assert storing._store_running(answer, {}, a_draft(answer)) is None
    assert MessageBody.objects.filter(message=answer.id).count() == 0
    assert RetrievalTrace.objects.count() == 0
    with pytest.raises(storing.Gone):
        storing.store_answer(answer.id, owner.pk, {}, a_draft(answer), answer)


def test_an_answer_whose_conversation_is_gone_is_gone(owner: User) -> None:
    _, answer = asked(services.create_conversation(owner=owner))
    Conversation.objects.all().delete()
    with pytest.raises(storing.Gone):
        storing.store_answer(answer.id, owner.pk, {}, a_draft(answer), answer)
    assert MessageBody.objects.count() == 0


def test_a_question_that_is_refused_writes_nothing_and_leaves_no_bars(owner: User, caches: None) -> None:
    conversation = services.create_conversation(owner=owner)
    key = {"owner": owner.pk, "conversation": conversation.id, "url": "/"}
    asked(conversation)
    assert caching.put(CONVERSATION_DETAIL, b"kept", **key)
    with pytest.raises(services.AnswerInProgress):
        asked(conversation)
    assert (Message.objects.count(), MessageBody.objects.count()) == (2, 1)
    assert caching.put(CONVERSATION_DETAIL, b"kept", **key), "nothing bars it"


def test_a_write_whose_end_nobody_knows_keeps_its_bars(owner: User, caches: None) -> None:
    conversation = services.create_conversation(owner=owner)
    thing = services.changes_of_conversation(owner.pk, conversation.id)
    key = {"owner": owner.pk, "conversation": conversation.id, "url": "/"}
    assert caching.put(CONVERSATION_DETAIL, b"kept", **key)
    with pytest.raises(ConnectionError), changing_at_once(*thing):
        raise ConnectionError
    assert not caching.put(CONVERSATION_DETAIL, b"kept", **key)


def test_inside_a_transaction_it_is_told_with_the_commit(owner: User) -> None:
    with pytest.raises(services.AnswerInProgress), transaction.atomic():
        conversation = services.create_conversation(owner=owner)
        assert connection.changed_things  # type: ignore[attr-defined]
        asked(conversation)
        asked(conversation)
    assert Conversation.objects.count() == 0
