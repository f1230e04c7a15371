"""A person who is deactivated is shut out at once."""

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from ragsite.accounts.models import User
from ragsite.accounts.services import activate_users, deactivate_users
from ragsite.accounts.signals import user_deactivated

pytestmark = pytest.mark.django_db


@pytest.fixture
def told():
    """Users that the signal told of."""
    heard = []

    def hear(user, **kwargs):
        heard.append(user)

    user_deactivated.connect(hear)
    yield heard
    user_deactivated.disconnect(hear)


def deactivate(user, capture):
    with capture(execute=True):
        return deactivate_users(users=User.objects.filter(pk=user.pk))


def test_sessions_and_tokens_stop_at_once(owner, api, signed_in, django_capture_on_commit_callbacks):
    page, program = signed_in(owner), api(owner)
    assert page.get("/settings/tokens/").status_code == 200
    assert program.get("/api/v1/me").status_code == 200
    assert deactivate(owner, django_capture_on_commit_callbacks) == 1
    assert page.get("/settings/tokens/").status_code == 302
    assert page.get("/api/v1/me").status_code == 401
    response = program.get("/api/v1/me")
    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"


def test_they_cannot_sign_in_or_reset_their_password(
    owner, client, mailoutbox, settings, django_capture_on_commit_callbacks
):
    settings.SENDS_MAIL = True
    deactivate(owner, django_capture_on_commit_callbacks)
    client.post("/accounts/login/", {"login": "owner", "password": "correct horse battery"})
    assert "_auth_user_id" not in client.session
    client.post("/accounts/password/reset/", {"email": "owner@example.com"})
    assert not any("/password/reset/key/" in message.body for message in mailoutbox)


def test_others_are_told_after_the_commit(owner, told, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        deactivate_users(users=User.objects.filter(pk=owner.pk))
    assert told == []
    for callback in callbacks:
        callback()
    assert told == [owner]
    assert not told[0].is_active


def test_doing_it_twice_tells_once(owner, told, django_capture_on_commit_callbacks):
    assert [deactivate(owner, django_capture_on_commit_callbacks) for _ in range(2)] == [1, 0]
    assert told == [owner]


def test_a_receiver_that_fails_stops_nobody(owner, django_capture_on_commit_callbacks):
    def fail(**kwargs):
        raise RuntimeError

    user_deactivated.connect(fail)
    try:
        assert deactivate(owner, django_capture_on_commit_callbacks) == 1
    finally:
        user_deactivated.disconnect(fail)


def test_activated_again_their_tokens_work_again(owner, api, django_capture_on_commit_callbacks):
    program = api(owner)
    deactivate(owner, django_capture_on_commit_callbacks)
    assert activate_users(users=User.objects.filter(pk=owner.pk)) == 1
    assert program.get("/api/v1/me").status_code == 200


def test_the_admin_deactivates_and_activates(staff, owner, signed_in, told, django_capture_on_commit_callbacks):
    client = signed_in(staff)
    chosen = {ACTION_CHECKBOX_NAME: [owner.pk, staff.pk]}
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/admin/accounts/user/", {"action": "deactivate", **chosen})
    owner.refresh_from_db()
    staff.refresh_from_db()
    assert (owner.is_active, staff.is_active) == (False, True)
    assert told == [owner]
    client.post("/admin/accounts/user/", {"action": "activate", **chosen})
    owner.refresh_from_db()
    assert owner.is_active


def test_unticking_active_in_the_form_tells_too(staff, owner, signed_in, told, django_capture_on_commit_callbacks):
    form = {"username": "owner", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    with django_capture_on_commit_callbacks(execute=True):
        response = signed_in(staff).post(f"/admin/accounts/user/{owner.pk}/change/", form)
    assert response.status_code == 302
    assert told == [owner]
