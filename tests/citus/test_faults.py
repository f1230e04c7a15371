"""A shard is moved and a node is killed while people work."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from django.db import connection
from django.test import Client

from chat.models import Conversation
from documents.models import Document
from documents.queue.kinds import waiting
from processing.leases import claim_next
from tests.citus.conftest import place_of

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
TALKS = "/api/v1/conversations"


def listed(client):
    return client.get("/api/v1/documents")


def test_while_a_worker_is_dead_its_owners_are_told_and_the_others_go_on(apart, api, upload, signed_in, cluster):
    victim, other = apart
    upload(victim, "Of the one.", "one.txt")
    upload(other, "Of the other.", "other.txt")
    theirs, mine = api(victim), api(other)
    cluster("kill", place_of(victim).port)

    refused = listed(theirs)
    assert (refused.status_code, refused.json()["code"]) == (503, "shard_unavailable")
    assert "Nothing of them is lost" in refused.json()["detail"]
    assert refused["Retry-After"] == "15"
    visitor = signed_in(victim)
    visitor.raise_request_exception = False
    page = visitor.get("/library/")
    assert page.status_code == 503
    assert "Nothing of them is lost" in page.content.decode()

    assert listed(mine).json()["results"][0]["filename"] == "other.txt"
    assert mine.post(TALKS, {"title": "Goes on"}).status_code == 201
    upload(other, "Uploaded meanwhile.", "meanwhile.txt")
    assert mine.get("/api/v1/queue").status_code == 200


def test_signing_in_works_for_everybody_while_a_worker_is_dead(apart, cluster):
    victim, other = apart
    cluster("kill", place_of(victim).port)
    for user in (victim, other):
        visitor = Client()
        answer = visitor.post("/accounts/login/", {"login": user.username, "password": "correct horse battery"})
        assert answer.status_code == 302
        user.refresh_from_db()
        assert user.last_login is not None
        assert visitor.get("/settings/tokens/").status_code == 200


def test_the_queue_goes_on_without_a_dead_worker_and_takes_up_its_documents_when_it_is_back(apart, upload, cluster):
    victim, other = apart
    waits = upload(victim, "Of the one.", "one.txt")
    goes_on = upload(other, "Of the other.", "other.txt")
    port = place_of(victim).port
    cluster("kill", port)
    assert waiting(10)["interactive"][0] == 1
    assert claim_next().id == goes_on.id
    assert claim_next() is None
    cluster("up", port)
    assert claim_next().id == waits.id


def test_all_is_well_when_the_worker_is_back(apart, api, upload, cluster):
    victim, _ = apart
    document = upload(victim, "Of the one.", "one.txt")
    client, port = api(victim), place_of(victim).port
    cluster("kill", port)
    assert client.delete(f"/api/v1/documents/{document.id}").status_code == 503
    cluster("up", port)
    assert [row["id"] for row in listed(client).json()["results"]] == [str(document.id)]
    assert client.delete(f"/api/v1/documents/{document.id}").status_code == 204
    assert not Document.objects.for_user(victim).exists()


def test_a_shard_is_moved_while_its_owner_reads_and_writes(apart):
    owner, other = apart
    here, there = place_of(owner), place_of(other)
    moved, failures, written = threading.Event(), [], [0]

    def work():
        try:
            while not moved.is_set() or written[0] < 20:
                Conversation.objects.create(owner=owner, title=str(written[0]))
                written[0] += 1
                list(Conversation.objects.for_user(owner).newest_first()[:20])
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            _move(here, there)
        finally:
            moved.set()
        working.result()
    assert failures == []
    assert place_of(owner).port == there.port
    assert Conversation.objects.for_user(owner).count() == written[0]


def _move(here, there):
    """On a connection of its own: it may not be inside a transaction."""
    parameters = {name: value for name, value in connection.get_connection_params().items() if name != "cursor_factory"}
    parameters.pop("context", None)
    mover = psycopg2.connect(**parameters)
    mover.autocommit = True
    try:
        with mover.cursor() as cursor:
            cursor.execute(
                "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, shard_transfer_mode := 'force_logical')",
                [here.shard, here.host, here.port, there.host, there.port],
            )
    finally:
        mover.close()
