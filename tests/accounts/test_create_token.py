"""manage.py create_token."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ragsite.accounts.models import ApiToken, User

pytestmark = pytest.mark.django_db


def run(*arguments):
    out, err = StringIO(), StringIO()
    call_command("create_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_prints_a_token_that_works_and_nothing_else(owner, api):
    out, err = run("owner", "--name", "script")
    assert err == ""
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {out.removesuffix(chr(10))}")
    assert client.get("/api/v1/me").json()["scopes"] == ["read", "write"]
    assert ApiToken.objects.get().expires_at is None


def test_scopes_and_days_are_as_told(owner):
    run("owner", "--name", "x", "--scopes", "read", "--days", "3")
    token = ApiToken.objects.get()
    assert token.scopes == ["read"]
    assert timedelta(days=2.9) < token.expires_at - timezone.now() <= timedelta(days=3)


def test_create_makes_the_user_without_a_password_once():
    out, err = run("robot", "--create", "--name", "x")
    assert out.startswith("rag_")
    assert len(out.split()) == 1
    assert "robot" in err
    run("robot", "--create", "--name", "y")
    assert not User.objects.get().has_usable_password()
    assert ApiToken.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody", "--name", "x"), "--create"),
        (("ghost", "--name", "x"), "deactivated"),
        (("owner", "--name", ""), "--name"),
        (("owner",), "--name"),
        (("owner", "--name", "x", "--scopes", "admin"), "scopes"),
        (("owner", "--name", "x", "--scopes", ""), "scopes"),
        (("owner", "--name", "x", "--days", "0"), "days"),
        (("owner", "--name", "x", "--days", "soon"), "days"),
        (("not a name!", "--create", "--name", "x"), "username"),
        (("OWNER", "--create", "--name", "x"), "violated"),
    ],
)
def test_what_cannot_be_is_refused(owner, arguments, message):
    User.objects.create(username="ghost", is_active=False)
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert not ApiToken.objects.exists()
