"""The same Idempotency-Key and body give the first result again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.utils import timezone

from ragsite.accounts.models import IdempotencyKey
from ragsite.tasks import remove_expired
from tests.ragsite.api_urls import CountingView, StreamingView

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ragsite.api_urls")]
PATH = "/api/v1/test/count"
STREAM = "/api/v1/test/stream"


@pytest.fixture(autouse=True)
def _nothing_made(monkeypatch):
    monkeypatch.setattr(CountingView, "made", [])
    monkeypatch.setattr(CountingView, "entered", threading.Event())
    monkeypatch.setattr(StreamingView, "made", [])


@pytest.fixture
def client(api, owner):
    made = api(owner)
    made.raise_request_exception = False
    return made


def send(client, body=None, key="k", path=PATH, **extra):
    return client.post(path, body if body is not None else {"content": "a"}, headers={"Idempotency-Key": key}, **extra)


def test_without_a_key_every_post_runs(client):
    assert [client.post(PATH, {"content": "a"}).json()["number"] for _ in range(2)] == [1, 2]
    assert not IdempotencyKey.objects.exists()


def test_a_repetition_gives_the_first_result_again(client):
    first, second = send(client), send(client)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json() == {"number": 1}
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert len(CountingView.made) == 1


def test_the_order_of_members_makes_no_other_body(client):
    send(client, {"content": "a", "x": 1})
    assert send(client, {"x": 1, "content": "a"})["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("change", [{"body": {"content": "b"}}, {"body": []}, {"path": STREAM}])
def test_another_request_with_the_same_key_is_refused(client, change):
    send(client)
    response = send(client, **change)
    assert response.status_code == 422
    assert response.json()["code"] == "idempotency_key_reused"


def test_keys_belong_to_their_users(client, api, stranger):
    send(client)
    other = send(api(stranger), {"content": "other"})
    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other


def upload(client, content=b"x" * 300_000, name="a.txt", **fields):
    file = SimpleUploadedFile(name, content)
    return send(client, {"file": file, "content": ["a", "b"], **fields}, format="multipart")


def test_uploads_are_compared_by_fields_names_and_content(client):
    assert upload(client).status_code == 201
    assert upload(client)["Idempotency-Replayed"] == "true"
    assert upload(client, content=b"x" * 299_999 + b"y").status_code == 422
    assert upload(client, name="b.txt").status_code == 422
    assert upload(client, content=b"x" * 300_000, collection="c").status_code == 422
    assert len(CountingView.made) == 1


@pytest.mark.parametrize(("fail", "status"), [("invalid", 400), ("fault", 500)])
def test_what_failed_can_be_tried_again(client, fail, status):
    assert send(client, {"fail": fail}).status_code == status
    assert not IdempotencyKey.objects.exists()
    assert send(client, {"content": "better"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b"])
def test_a_key_that_is_none_is_refused(client, key):
    response = send(client, key=key)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_idempotency_key"


@pytest.mark.django_db(transaction=True)
def test_a_second_request_during_the_first_is_refused_and_only_one_runs(client, monkeypatch):
    monkeypatch.setattr(CountingView, "hold", threading.Event())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_in_thread, client)
        assert CountingView.entered.wait(20)
        second = send(client)
        CountingView.hold.set()
        assert first.result().status_code == 201
    assert second.status_code == 409
    assert second.json()["code"] == "idempotency_in_progress"
    assert second["Retry-After"]
    assert send(client)["Idempotency-Replayed"] == "true"
    assert len(CountingView.made) == 1


def _in_thread(client):
    try:
        return send(client)
    finally:
        connection.close()


def leave_behind(client, age):
    """As a process does that is killed while it works."""
    send(client)
    IdempotencyKey.objects.update(status=None, body=None, claimed_at=timezone.now() - age)


def test_a_claim_whose_process_died_is_taken_over_after_five_minutes(client):
    leave_behind(client, timedelta(minutes=4))
    assert send(client).status_code == 409
    leave_behind_again = IdempotencyKey.objects.update(claimed_at=timezone.now() - timedelta(minutes=6))
    assert leave_behind_again == 1
    assert send(client).json() == {"number": 2}
    assert send(client)["Idempotency-Replayed"] == "true"


def test_a_claim_of_a_process_that_is_known_to_be_gone_is_taken_over_at_once(client, monkeypatch):
    leave_behind(client, timedelta())
    assert send(client).status_code == 409
    monkeypatch.setattr("ragsite.lifeline.has_ended", lambda mark: True)
    assert send(client).json() == {"number": 2}


def test_a_claim_of_a_silent_process_of_another_machine_is_taken_over_after_seconds(client, monkeypatch):
    leave_behind(client, timedelta(seconds=30))
    IdempotencyKey.objects.update(claimed_by="elsewhere:a")
    monkeypatch.setattr("ragsite.signs.has_fallen_silent", lambda mark, since: False)
    assert send(client).status_code == 409
    monkeypatch.setattr("ragsite.signs.has_fallen_silent", lambda mark, since: mark == "elsewhere:a")
    assert send(client).json() == {"number": 2}


def test_a_claim_that_the_database_could_not_take_back_is_given_back_later(client, monkeypatch):
    """Else a repetition would wait for five minutes for a request that has failed."""
    from ragsite.api import idempotency

    real, tries, over = idempotency.Claim.release, [], threading.Event()

    def away_twice(claim):
        tries.append(claim)
        if len(tries) < 3:
            raise OperationalError("the database system is starting up")
        over.set()

    monkeypatch.setattr(idempotency.Claim, "release", away_twice)
    monkeypatch.setattr(idempotency, "RELEASE_PAUSES", (0, 0, 0))
    assert send(client, {"fail": "fault"}).status_code == 500
    assert over.wait(30)
    real(tries[0])
    assert not IdempotencyKey.objects.exists()


def test_a_claim_whose_commit_was_not_confirmed_is_given_back(client, monkeypatch):
    """The database died between the two: the request has failed, and nobody knows of its claim."""
    from ragsite.api import idempotency

    real, tries, over = idempotency.Claim.release, [], threading.Event()
    get_or_create = IdempotencyKey.objects.get_or_create

    def unconfirmed(**wanted):
        get_or_create(**wanted)
        raise OperationalError("server closed the connection unexpectedly")

    def late(claim):  # its commit is seen only at the third look
        tries.append(claim)
        if len(tries) == 3:
            over.set()
        return len(tries) == 3

    monkeypatch.setattr(IdempotencyKey.objects, "get_or_create", unconfirmed)
    monkeypatch.setattr(idempotency.Claim, "release", late)
    monkeypatch.setattr(idempotency, "RELEASE_PAUSES", (0, 0, 0, 0))
    assert send(client).status_code == 503
    assert over.wait(30)
    assert IdempotencyKey.objects.exists()
    assert real(tries[0])
    assert not IdempotencyKey.objects.exists()


def test_of_two_that_would_take_over_one_does(client, monkeypatch):
    leave_behind(client, timedelta(minutes=6))
    row = IdempotencyKey.objects.get()
    from ragsite.api import idempotency

    stale = IdempotencyKey.objects.get()
    assert idempotency._take_over(row)
    assert not idempotency._take_over(stale)


def test_who_was_taken_for_dead_finishes_nothing(client):
    """Its transaction rolls back what it has done; the result is the other one's."""
    from ragsite.api.idempotency import Claim, Problem, _take_over

    leave_behind(client, timedelta(minutes=6))
    late = Claim(IdempotencyKey.objects.get())
    row = IdempotencyKey.objects.get()
    assert _take_over(row)
    for _ in range(2):  # while the other one works, and when it is done
        with pytest.raises(Problem) as refused:
            late.finish(201, {"number": "late"})
        assert refused.value.status_code == 409
        if not row.finished:
            Claim(row).finish(201, {"number": "its own"})
    assert send(client).json() == {"number": "its own"}


def test_a_stream_is_answered_again_from_what_the_view_kept(client):
    first, second = send(client, path=STREAM), send(client, path=STREAM)
    assert first.getvalue() == second.getvalue() == b"data: 1\n\n"
    assert second["Content-Type"] == "text/event-stream"
    assert second["Idempotency-Replayed"] == "true"
    assert len(StreamingView.made) == 1


def test_a_result_that_was_kept_stays_when_the_answer_fails(client):
    body = {"fail": True}
    assert send(client, body, path=STREAM).status_code == 500
    assert send(client, body, path=STREAM)["Idempotency-Replayed"] == "true"
    assert len(StreamingView.made) == 1


def test_keys_are_removed_after_their_time(client, settings):
    send(client, key="old")
    IdempotencyKey.objects.update(created_at=timezone.now() - settings.IDEMPOTENCY_KEEP - timedelta(seconds=1))
    send(client, key="new")
    remove_expired()
    remove_expired()
    assert [row.key for row in IdempotencyKey.objects.all()] == ["new"]


def test_expired_sessions_are_removed(owner, signed_in):
    from django.contrib.sessions.models import Session

    signed_in(owner)
    signed_in(owner)
    session = Session.objects.first()
    Session.objects.filter(pk=session.pk).update(expire_date=timezone.now() - timedelta(days=1))
    remove_expired()
    assert Session.objects.count() == 1


def test_a_key_takes_three_queries_more(client, django_assert_num_queries):
    send(client, key="first")
    with django_assert_num_queries(6):  # token; look up, savepoint, insert, release the key; keep the result
        send(client, key="second")
    with django_assert_num_queries(2):  # token; the key
        send(client, key="second")


def test_of_two_that_would_run_anew_what_was_deleted_one_does(client, monkeypatch):
    send(client)

    def gone(view, request, row, **kwargs):
        IdempotencyKey.objects.update(status=None, claimed_at=timezone.now())  # the other one was quicker
        return None

    monkeypatch.setattr(CountingView, "replay", gone, raising=False)
    assert send(client).json()["code"] == "idempotency_in_progress"
    assert len(CountingView.made) == 1
