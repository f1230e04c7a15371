"""Sign up, sign in, sign out, password reset, the page of tokens."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings as site_settings
from django.core import mail
from django.test import Client

from ragsite.accounts.models import ApiToken, User
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
SIGN_UP = {"username": "newcomer", "password1": "a long enough phrase", "password2": "a long enough phrase"}


def test_one_signs_up_without_an_email_and_is_signed_in(client):
    response = client.post("/accounts/signup/", SIGN_UP)
    assert response.status_code == 302
    user = User.objects.get(username="newcomer")
    assert user.email == ""
    assert client.session["_auth_user_id"] == str(user.pk)
    assert mail.outbox == []


def test_sign_up_can_be_closed(client, settings):
    settings.RAGSITE_SIGNUP = False
    assert b"closed" in client.get("/accounts/signup/").content
    client.post("/accounts/signup/", SIGN_UP)
    assert not User.objects.exists()
    assert b"/accounts/signup/" not in client.get("/accounts/login/").content


def test_a_name_that_differs_in_case_alone_is_taken(client, owner):
    response = client.post("/accounts/signup/", {**SIGN_UP, "username": "OWNER"})
    assert response.status_code == 200
    assert User.objects.count() == 1


def test_weak_passwords_are_refused(client):
    client.post("/accounts/signup/", {**SIGN_UP, "password1": "12345678", "password2": "12345678"})
    assert not User.objects.exists()


@pytest.mark.parametrize("login", ["owner", "Owner", "owner@example.com"])
def test_one_signs_in_by_name_or_email(client, owner, login):
    response = client.post("/accounts/login/", {"login": login, "password": PASSWORD})
    assert response.status_code == 302
    assert "_auth_user_id" in client.session


def test_a_wrong_password_is_told_without_telling_which_was_wrong(client, owner):
    wrong = client.post("/accounts/login/", {"login": "owner", "password": "x"})
    unknown = client.post("/accounts/login/", {"login": "nobody", "password": "x"})
    message = b"The username and/or password you specified are not correct."
    assert message in wrong.content
    assert message in unknown.content


def test_guessing_passwords_is_slowed_down(client, owner):
    for _ in range(5):
        client.post("/accounts/login/", {"login": "owner", "password": "x"})
    response = client.post("/accounts/login/", {"login": "owner", "password": PASSWORD})
    assert "_auth_user_id" not in client.session
    assert b"Too many failed" in response.content


def test_signing_out_needs_a_post_and_ends_the_session(signed_in, owner):
    client = signed_in(owner)
    assert client.get("/accounts/logout/").status_code == 200
    assert client.get("/settings/tokens/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/settings/tokens/").status_code == 302


@pytest.fixture
def with_mail(settings):
    """As with EMAIL_URL."""
    settings.SENDS_MAIL, settings.ACCOUNT_EMAIL_VERIFICATION = True, "optional"


def test_a_forgotten_password_is_reset_by_mail(client, owner, with_mail):
    client.post("/accounts/password/reset/", {"email": "Owner@example.com"})
    (message,) = mail.outbox
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", message.body).group(1)
    form = client.get(link, follow=True)
    done = client.post(
        form.request["PATH_INFO"], {"password1": "another fine phrase", "password2": "another fine phrase"}
    )
    assert done.status_code == 302
    assert client.post("/accounts/login/", {"login": "owner", "password": "another fine phrase"}).status_code == 302
    again = client.get(link, follow=True)
    assert b"invalid" in again.content


def test_without_mail_the_page_says_whom_to_ask_and_nothing_is_sent(client, owner):
    for response in (
        client.get("/accounts/password/reset/"),
        client.post("/accounts/password/reset/", {"email": owner.email}),
    ):
        assert "Ask an administrator" in response.content.decode()
    assert mail.outbox == []


def test_no_link_is_printed_into_the_log_unless_configured():
    assert site_settings.EMAIL_CONFIG["EMAIL_BACKEND"] == "django.core.mail.backends.dummy.EmailBackend"


def test_an_address_is_verified_by_mail(client, with_mail):
    client.post("/accounts/signup/", {**SIGN_UP, "email": "new@example.com"})
    (message,) = mail.outbox
    assert message.to == ["new@example.com"]
    link = re.search(r"http://testserver(/accounts/confirm-email/\S+)", message.body).group(1)
    assert not EmailAddress.objects.get(email="new@example.com").verified
    client.post(link)
    assert EmailAddress.objects.get(email="new@example.com").verified


@pytest.mark.parametrize("verification", ["none", "optional"])
def test_who_claims_an_address_first_keeps_nobody_from_it(client, owner, settings, verification):
    settings.ACCOUNT_EMAIL_VERIFICATION = verification
    free = Client().post("/accounts/signup/", {**SIGN_UP, "username": "other", "email": "free@example.com"})
    taken = client.post("/accounts/signup/", {**SIGN_UP, "email": owner.email})
    assert (taken.status_code, taken["Location"]) == (free.status_code, free["Location"])
    assert User.objects.filter(email=owner.email).count() == 2


def test_a_claimed_address_is_no_way_into_the_account_of_its_owner(client, owner, with_mail):
    EmailAddress.objects.create(user=owner, email=owner.email, verified=True, primary=True)
    Client().post("/accounts/signup/", {**SIGN_UP, "email": owner.email})
    mail.outbox.clear()
    client.post("/accounts/password/reset/", {"email": owner.email})
    (message,) = mail.outbox
    assert "owner" in message.body
    assert "newcomer" not in message.body
    claimed = EmailAddress.objects.get(user__username="newcomer")
    assert not claimed.can_set_verified()


def test_a_reset_tells_nobody_who_has_an_account(client, owner, with_mail):
    known = client.post("/accounts/password/reset/", {"email": "owner@example.com"})
    unknown = client.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/password/reset/",
        "/accounts/password/reset/done/",
        "/accounts/inactive/",
        "/accounts/password/reset/key/x-y/",
    ],
)
def test_pages_of_strangers_hold_no_inline_script_or_style(client, path):
    html = client.get(path, follow=True).content.decode()
    assert "<h1" in html
    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style|\son\w+=|\sstyle=", html)


@pytest.mark.parametrize(
    "path", ["/accounts/password/change/", "/accounts/email/", "/accounts/reauthenticate/", "/accounts/logout/"]
)
def test_pages_of_the_signed_in_are_ours(signed_in, owner, path):
    html = signed_in(owner).get(path, follow=True).content.decode()
    assert "<h1" in html
    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style|\son\w+=|\sstyle=", html)


def test_signing_in_works_while_the_cache_is_down(client, owner, settings):
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}}
    assert client.post("/accounts/login/", {"login": "owner", "password": PASSWORD}).status_code == 302
    assert client.get("/settings/tokens/").status_code == 200


def test_the_tokens_page_shows_a_secret_once(signed_in, owner, api):
    client = signed_in(owner)
    made = client.post("/settings/tokens/", {"name": "<b>laptop", "scopes": ["read"], "days": "30"})
    secret = re.search(r'value="(rag_[^"]+)"', made.content.decode()).group(1)
    assert "no-store" in made["Cache-Control"]
    assert b"&lt;b&gt;laptop" in made.content
    assert secret not in client.get("/settings/tokens/").content.decode()
    program = api()
    program.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert program.get("/api/v1/me").json()["scopes"] == ["read"]
    assert ApiToken.objects.get().expires_at is not None


@pytest.mark.parametrize("wrong", [{"name": ""}, {"scopes": []}, {"scopes": ["admin"]}, {"days": "7"}])
def test_a_wrong_form_is_shown_again(signed_in, owner, wrong):
    response = signed_in(owner).post("/settings/tokens/", {"name": "x", "scopes": ["read"], "days": "", **wrong})
    assert response.status_code == 200
    assert b"errorlist" in response.content
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_on_the_page(signed_in, owner):
    token, _ = ApiToken.issue(owner=owner, name="x")
    client = signed_in(owner)
    assert client.get(f"/settings/tokens/{token.pk}/revoke/").status_code == 405
    response = client.post(f"/settings/tokens/{token.pk}/revoke/", follow=True)
    assert b"no longer works" in response.content
    token.refresh_from_db()
    assert token.state == "revoked"


def test_a_stranger_cannot_revoke_it(signed_in, owner, stranger):
    token, _ = ApiToken.issue(owner=owner, name="x")
    assert signed_in(stranger).post(f"/settings/tokens/{token.pk}/revoke/").status_code == 404
    assert b"rag_" not in signed_in(stranger).get("/settings/tokens/").content


@pytest.mark.parametrize("path", ["/settings/tokens/", "/settings/tokens/00000000-0000-7000-8000-000000000000/revoke/"])
def test_the_anonymous_are_sent_to_sign_in(client, path):
    response = client.post(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("rows", [2, 20])
def test_the_tokens_page_takes_the_same_queries_whatever_its_length(signed_in, owner, rows, django_assert_num_queries):
    for _ in range(rows):
        ApiToken.issue(owner=owner, name="x")
    client = signed_in(owner)
    client.get("/settings/tokens/")
    with django_assert_num_queries(2):  # the user (the session is in the cache); the page
        client.get("/settings/tokens/")


def test_a_broken_cursor_leads_to_the_first_page(signed_in, owner):
    assert signed_in(owner).get("/settings/tokens/?cursor=x")["Location"] == "/settings/tokens/"
