"""Retrieval traces by week: made ahead, dropped when old, found in one partition, deleted with their conversation."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from chat.migrations import _traces
from chat.models import Conversation, Message, RetrievalTrace
from chat.seeding.plan import id_at
from ragsite.accounts.models import User
from ragsite.partitioning import timed
from ragsite.partitioning.catalog import partitions, rows
from ragsite.partitioning.locking import briefly_locked
from ragsite.partitioning.report import examined
from ragsite.tasks import keep_partitions
from tests.partitions.conftest import content

pytestmark = pytest.mark.xdist_group("partitions")
TABLE = "chat_retrievaltrace"


@pytest.fixture
def talk(people: list[User]) -> Iterator[Conversation]:
    made = Conversation.objects.create(owner=people[0], title="Old and new")
    yield made
    Conversation.objects.filter(owner=people[0], id=made.id).delete()


def traced(talk: Conversation, at: datetime | None = None, identifier: UUID | None = None) -> Message:
    """An answer of that moment, with its trace."""
    message = Message.objects.create(
        id=identifier or id_at(at or timezone.now()), owner=talk.owner, conversation=talk, role="assistant"
    )
    RetrievalTrace.objects.create(owner=talk.owner, message=message, query="Which turbine?")
    return message


def lies_in(message: Message) -> str:
    return rows(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE message_id = %s", [message.id])[0][0]


def of_table() -> timed.Timed:
    return next(one for one in timed.timed_tables() if one.table == TABLE)


def weeks(count: float) -> timedelta:
    return timedelta(weeks=count)


def todo() -> list[str]:
    return [one.code for one in examined().todo if one.table == TABLE]


def test_a_week_is_made_before_it_begins_and_its_rows_lie_in_it(talk):
    keep_partitions()
    coming = timezone.now() + weeks(3)
    assert lies_in(traced(talk, coming)) == f"{TABLE}_w{timed.week_of(coming):%Y%m%d}"
    assert timed.upkeep() == []
    assert todo() == []


def test_a_row_that_fits_no_week_is_kept_and_moves_when_its_week_is_made(talk):
    far, beyond = traced(talk, timezone.now() + weeks(30)), traced(talk, identifier=UUID(int=2**128 - 1))
    assert lies_in(far) == lies_in(beyond) == f"{TABLE}_default"
    assert todo() == ["default"]
    week = timed.week_of(timezone.now() + weeks(30))
    briefly_locked(timed.making(of_table(), week, f"{TABLE}_default"))
    assert (lies_in(far), lies_in(beyond)) == (f"{TABLE}_w{week:%Y%m%d}", f"{TABLE}_default")


def test_what_is_old_goes_with_its_partition_and_what_is_younger_stays(talk, settings):
    settings.PARTITIONS_KEPT = {TABLE: weeks(8)}
    first = next(one for one in partitions(TABLE) if "_before_" in one.name)
    briefly_locked([f"DROP TABLE {first.name}"])  # as if the site had been made long ago
    for number in (13, 11, 4, 0):
        briefly_locked(timed.making(of_table(), timed.week_of(timezone.now() - weeks(number)), None))
    ages = {number: traced(talk, timezone.now() - weeks(number)) for number in (20, 13, 11, 4, 0)}
    assert todo() == ["default", "old", "old"]
    assert [sentence.split()[0] for sentence in timed.upkeep()] == ["dropped", "dropped", "removed"]
    kept = set(RetrievalTrace.objects.filter(owner=talk.owner).values_list("message_id", flat=True))
    assert kept == {ages[4].id, ages[0].id}
    assert Message.objects.filter(owner=talk.owner, conversation=talk).count() == 5  # messages do not go
    settings.PARTITIONS_KEPT = {}
    assert list(timed.drop_old(of_table())) == []


def test_traces_go_with_their_conversation_and_with_their_owner(people, talk):
    traced(talk), traced(talk, timezone.now() - weeks(4)), traced(talk, identifier=uuid4())
    other = Conversation.objects.create(owner=people[1])
    traced(other)
    Conversation.objects.filter(id=talk.id).delete()
    assert not RetrievalTrace.objects.filter(owner=talk.owner).exists()
    assert RetrievalTrace.objects.filter(owner=people[1]).count() == 1
    User.objects.get(pk=people[1].pk).delete()
    assert not RetrievalTrace.objects.filter(owner=people[1]).exists()


def test_owner_and_message_are_asked_for_in_one_partition(talk):
    message = traced(talk)
    plan = RetrievalTrace.objects.filter(owner=talk.owner, message=message).explain()
    assert len(set(re.findall(rf"{TABLE}_\w+?\d{{8}}|{TABLE}_default", plan))) == 1


def test_the_migration_keeps_every_row_in_both_directions(talk):
    traced(talk), traced(talk, timezone.now() - weeks(60))
    stranger = traced(talk, identifier=UUID("ffffffff-0000-4000-8000-000000000000"))
    editor: Any = SimpleNamespace(connection=connection)
    before = content(TABLE)
    _traces.backwards(None, editor)
    assert content(TABLE) == before
    assert partitions(TABLE) == []
    _traces.forwards(None, editor)
    assert content(TABLE) == before
    assert lies_in(stranger) == f"{TABLE}_default"
    Message.objects.filter(id=stranger.id).delete()
    _traces.backwards(None, editor)
    _traces.forwards(None, editor)
    _traces.forwards(None, editor)  # nothing is left to do
    assert [one.name.rpartition("_")[0] for one in partitions(TABLE)] == [f"{TABLE}_before", *[TABLE] * 4]
    assert of_table().missing(partitions(TABLE), timed.LEAST_AHEAD) == []
    assert rows("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'", [TABLE])[1:]
    assert call_command("makemigrations", check=True, dry_run=True, verbosity=0) is None
