"""The administration's page of the service level."""

from datetime import UTC, datetime

import pytest
from django.urls import reverse

from documents.models import Document
from ragsite.accounts.models import User
from ragsite.service_level import panels
from ragsite.service_level.recorder import Recorder
from ragsite.service_level.targets import TARGETS, Indicator

URL = "/admin/service-level/"


@pytest.fixture
def measured(db):
    recorder = Recorder()
    recorder.start(automatic=False)
    recorder.measured(Indicator.ANSWER, 9.0)
    recorder.measured(Indicator.STAGE, 2.0, "embedding")
    recorder.flush()


def test_it_is_for_staff_alone(client, signed_in, owner):
    assert client.get(URL).status_code == 302
    assert signed_in(owner).get(URL).status_code == 302


@pytest.mark.parametrize("window", ["hour", "day", "week", "nonsense"])
def test_each_target_is_shown_with_its_value_and_chart(signed_in, staff, measured, window):
    page = signed_in(staff).get(URL, {"window": window})
    text = page.content.decode()
    assert page.status_code == 200
    assert text.count('role="img"') == len(TARGETS)
    assert "Missed in the last" in text
    assert "embedding" in text
    assert "style=" not in text.split('id="live"')[1], "the policy allows no inline style"


def test_it_costs_the_same_with_2_measurements_and_with_200(signed_in, staff, django_assert_num_queries, measured):
    client = signed_in(staff)
    client.get(URL)
    # session, user; measurements of the window and of the last minutes; the queue: its lines, what failed
    with django_assert_num_queries(6):
        client.get(URL)
    recorder = Recorder()
    recorder.start(automatic=False)
    for number in range(200):
        recorder.measured(Indicator.STAGE, 1.0, f"s{number}")
    recorder.flush()
    with django_assert_num_queries(6):
        client.get(URL)


def test_nothing_measured_is_said(signed_in, staff):
    assert "Nothing was measured in the last hour" in signed_in(staff).get(URL).content.decode()


def test_a_failed_document_says_why_and_can_be_tried_again(signed_in, staff, owner, upload):
    document = upload(owner, "words", "name.txt")
    Document.objects.filter(id=document.id).update(
        status="failed", error_code="internal_error", error_detail="It <b>fell</b> over.", error_retryable=True
    )
    client = signed_in(staff)
    text = client.get(URL).content.decode()
    assert "It &lt;b&gt;fell&lt;/b&gt; over." in text
    retry = reverse("admin:documents_document_retry", args=[document.id])
    assert retry in text
    assert client.post(retry)["Location"] == f"{URL}?document={document.id}"
    document.refresh_from_db()
    assert document.status == "uploaded"
    assert document.restarted_at > document.uploaded_at


def test_who_may_not_change_documents_cannot_try_them_again(signed_in, owner, upload, db):
    viewer = User.objects.create_user("viewer", "viewer@example.com", "x", is_staff=True)
    document = upload(owner)
    Document.objects.filter(id=document.id).update(status="failed", error_code="crashed", error_retryable=True)
    client = signed_in(viewer)
    retry = reverse("admin:documents_document_retry", args=[document.id])
    assert retry not in client.get(URL).content.decode()
    client.post(retry)
    document.refresh_from_db()
    assert document.status == "failed"


@pytest.mark.parametrize("asked", ["nonsense", "01890000-0000-7000-8000-000000000000"])
def test_an_unknown_document_is_said(signed_in, staff, asked):
    assert "No document has this id" in signed_in(staff).get(URL, {"document": asked}).content.decode()


def test_any_document_is_asked_for_by_its_id(signed_in, staff, owner, upload):
    document = upload(owner, name="waiting.txt")
    Document.objects.filter(id=document.id).update(status="processed", processed_at=datetime.now(UTC))
    text = signed_in(staff).get(URL, {"document": str(document.id)}).content.decode()
    assert "It is processed: it is found by words and by meaning." in text


def test_a_panel_whose_server_is_away_is_left_out(signed_in, staff, monkeypatch):
    def away(request):
        raise panels.RedisError

    monkeypatch.setattr(panels, "_panels", [("admin/documents/queue_panel.html", away)])
    assert signed_in(staff).get(URL).status_code == 200


def test_the_administration_links_to_it(signed_in, staff):
    assert URL in signed_in(staff).get("/admin/").content.decode()
