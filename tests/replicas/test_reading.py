"""What is read from a replica, and what never is."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from django.db import DataError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from documents.caching import CORPUS_WRITTEN, LIBRARY_WRITTEN, library_changed
from documents.models import Collection, Document
from documents.search import Mode, Scope, ranking
from ragsite.accounts.models import ApiToken, User
from ragsite.caching import protocol
from ragsite.caching.protocol import Circuit
from ragsite.replicas import position, read, read_connection
from ragsite.replicas.routing import ReplicaRouter, reading_from
from tests.replicas.known_fleet import ALIAS, KnownFleet

LIST = "/api/v1/collections"
Api = Callable[..., Any]


def where(owner: User, space: Any = LIBRARY_WRITTEN) -> str:
    """The server that a read of this owner's library comes from."""
    return read(space, owner.pk, lambda: str(read_connection().alias))


def is_closed(fleet: KnownFleet) -> bool:
    return not fleet.replica.is_there()


def caught_up(fleet: KnownFleet, owner: User) -> None:
    """The replica has what is known of the owner: whatever else the tests' server writes meanwhile comes after."""
    where(owner)
    fleet.has_replayed_all()
    assert where(owner) == ALIAS


def test_a_list_comes_from_the_replica(api: Api, owner: User, on_replica: CaptureQueriesContext) -> None:
    Collection.objects.create(owner=owner, name="Shelf")
    assert [row["name"] for row in api(owner).get(LIST).json()["results"]] == ["Shelf"]
    assert [query["sql"].split()[0] for query in on_replica.captured_queries] == ["SELECT"]


def test_who_is_asking_is_read_from_the_primary(api: Api, owner: User, on_replica: CaptureQueriesContext) -> None:
    api(owner).get(LIST)
    assert not any("accounts_" in query["sql"] for query in on_replica.captured_queries)


def test_what_is_kept_comes_from_the_primary(api: Api, owner: User, on_replica: CaptureQueriesContext) -> None:
    """Asked for once it is not kept; the second time it is, and the third time it is there."""
    client = api(owner)
    statements = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as on_primary:
            client.get(LIST)
        statements.append(sum("documents_collection" in query["sql"] for query in on_primary.captured_queries))
    assert (statements, len(on_replica)) == ([0, 1, 0], 1)


def test_with_the_caches_off_every_read_comes_from_the_replica(
    api: Api, owner: User, on_replica: CaptureQueriesContext, settings: Any
) -> None:
    settings.CACHES_OFF = {"all"}
    client = api(owner)
    for _ in range(3):
        client.get(LIST)
    assert len(on_replica) == 3


def test_a_search_runs_on_the_replica(owner: User, on_replica: CaptureQueriesContext) -> None:
    read(CORPUS_WRITTEN, owner.pk, lambda: ranking.rank(Scope(owner.pk), "anything", None, 5, Mode.WORDS))
    assert any("documents_chunk" in query["sql"] for query in on_replica.captured_queries)


def test_one_does_not_read_there_what_one_has_just_written(owner: User, fleet: KnownFleet) -> None:
    caught_up(fleet, owner)
    with transaction.atomic():
        library_changed(owner.pk)
        Collection.objects.create(owner=owner, name="Shelf")
    assert where(owner) == "default"
    fleet.has_replayed_all()
    assert where(owner) == ALIAS


def test_what_others_write_sends_nobody_to_the_primary(owner: User, stranger: User, fleet: KnownFleet) -> None:
    caught_up(fleet, owner)
    with transaction.atomic():
        library_changed(stranger.pk)
        Collection.objects.create(owner=stranger, name="Shelf")
    assert (where(owner), where(stranger)) == (ALIAS, "default")


def test_a_change_that_is_being_committed_sends_reads_to_the_primary(owner: User, fleet: KnownFleet) -> None:
    assert where(owner) == ALIAS
    known = protocol.stamp_keys(_epoch(), [f"library:{owner.pk}"])
    protocol.redis().zadd(known[1], {"a writer": 2**50})
    assert where(owner) == "default"


def _epoch() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT epoch::text FROM caching_epoch")
        return str(cursor.fetchone()[0])


def test_what_is_missing_in_valkey_is_asked_for_and_never_guessed(owner: User, fleet: KnownFleet) -> None:
    """Evicted, or lost with the server."""
    caught_up(fleet, owner)
    Collection.objects.create(owner=owner, name="told to nobody")
    assert where(owner) == ALIAS
    protocol.redis().flushdb()
    assert where(owner) == "default"


def test_without_valkey_all_is_read_from_the_primary(
    owner: User, fleet: KnownFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Circuit, "allows", lambda _self: False)
    assert where(owner) == "default"


def test_inside_a_transaction_reads_go_where_its_writes_are(owner: User, fleet: KnownFleet) -> None:
    with transaction.atomic():
        assert where(owner) == "default"
    with reading_from(ALIAS):
        assert Collection.objects.all().db == ALIAS
        with transaction.atomic():
            assert Collection.objects.all().db == "default"


def test_a_row_from_the_replica_is_written_to_the_primary(owner: User, on_replica: CaptureQueriesContext) -> None:
    Collection.objects.create(owner=owner, name="Shelf")
    with reading_from(ALIAS):
        row = Collection.objects.get()
    assert row._state.db == ALIAS
    row.name = "Board"
    row.save(update_fields=["name"])
    assert [query["sql"].split()[0] for query in on_replica.captured_queries] == ["SELECT"]
    assert Collection.objects.get().name == "Board"


@pytest.mark.parametrize("model", [User, ApiToken, Document._meta.apps.get_model("documents", "Rate")])
def test_some_rows_are_never_read_there(model: Any, fleet: KnownFleet) -> None:
    with reading_from(ALIAS):
        assert ReplicaRouter().db_for_read(Document) == ALIAS
        assert ReplicaRouter().db_for_read(model) == "default"


def test_a_replica_that_fails_is_no_error_and_is_tried_again(
    api: Api, owner: User, fleet: KnownFleet, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES_OFF = {"all"}

    def broken(*_args: Any) -> None:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    client = api(owner)
    monkeypatch.setattr(connections[ALIAS], "get_new_connection", broken)
    assert client.get(LIST).status_code == 200
    assert is_closed(fleet)
    monkeypatch.undo()
    monkeypatch.setattr(fleet.replica, "_rests_until", 0.0)
    assert fleet.replica.is_there(), "when its pause is over"


@pytest.mark.parametrize("error", [OperationalError("the primary is away"), DataError("of its user")])
def test_what_is_not_the_replicas_fault_leaves_it_there(error: Exception, owner: User, fleet: KnownFleet) -> None:
    def compute() -> str:
        if read_connection().alias == ALIAS:
            raise error
        return "primary"

    caught_up(fleet, owner)
    assert read(LIBRARY_WRITTEN, owner.pk, compute) == "primary"
    assert not is_closed(fleet)


def test_pauses_grow_while_a_replica_fails_and_end_with_the_first_read(fleet: KnownFleet) -> None:
    pauses = []
    for _ in range(8):
        for _at_once in range(3):
            fleet.replica.failed(OperationalError("gone"))
        pauses.append(fleet.replica._pause)
        fleet.replica._rests_until = 0.0
    assert pauses == [0.5, 1, 2, 4, 8, 15, 15, 15]
    fleet.replica.served()
    assert fleet.replica._pause == 0


def test_a_server_that_takes_writes_is_no_replica(owner: User, fleet: KnownFleet) -> None:
    fleet.says(is_replica=False)
    assert where(owner) == "default"


def test_a_replica_of_an_older_timeline_is_not_read(owner: User, fleet: KnownFleet) -> None:
    """It may have what was lost when another one was promoted, and lack what came after."""
    fleet.newest_timeline = 2
    assert where(owner) == "default"
    fleet.says(timeline=2)
    assert where(owner) == ALIAS


def test_an_answer_of_long_ago_is_not_believed(owner: User, fleet: KnownFleet) -> None:
    seen = fleet.replica.sighting
    assert seen
    fleet.replica.note(type(seen)(0.0, *list(vars(seen).values())[1:]))
    assert where(owner) == "default"


def test_a_position_is_the_primarys_log(fleet: KnownFleet) -> None:
    before = position.of_primary()
    Collection.objects.create(owner=User.objects.create_user("someone"), name="Shelf")
    after = position.of_primary()
    assert (after.lsn > before.lsn, after.timeline) == (True, 1)
