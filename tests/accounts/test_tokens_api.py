"""GET /me and the endpoints of tokens."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from ragsite.accounts.models import ApiToken

pytestmark = pytest.mark.django_db


def test_me_tells_who_is_calling_and_what_the_token_may_do(api, owner):
    response = api(owner, ["read"]).get("/api/v1/me")
    assert response.status_code == 200
    assert response.json()["username"] == "owner"
    assert response.json()["scopes"] == ["read"]


def test_me_is_there_for_a_session_with_all_scopes(signed_in, owner):
    assert signed_in(owner).get("/api/v1/me").json()["scopes"] == ["read", "write"]


@pytest.fixture
def session(owner):
    client = APIClient()
    client.force_login(owner, "django.contrib.auth.backends.ModelBackend")
    return client


def test_a_token_is_made_and_its_secret_shown_once(api, session):
    client = session
    response = client.post("/api/v1/tokens", {"name": "laptop"})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    made = response.json()
    assert made["scopes"] == ["read", "write"]
    listed = client.get("/api/v1/tokens").json()["results"]
    assert made["id"] in [token["id"] for token in listed]
    assert made["secret"] not in str(listed)
    fresh = api()
    fresh.credentials(HTTP_AUTHORIZATION=f"Bearer {made['secret']}")
    assert fresh.get("/api/v1/me").status_code == 200


def test_only_a_hash_of_the_secret_is_kept(owner):
    token, secret = ApiToken.issue(owner=owner, name="x")
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(row)
    assert len(bytes(row["digest"])) == 32


def test_a_token_id_is_not_a_counter(owner):
    first, second = (ApiToken.issue(owner=owner, name="x")[0].pk for _ in range(2))
    assert abs(first.int - second.int) > 2**8  # within one millisecond they rise by steps of up to 2**32


def test_a_token_cannot_make_tokens_that_would_outlive_its_revocation(api, owner):
    response = api(owner).post("/api/v1/tokens", {"name": "child"})
    assert response.status_code == 403
    assert response.json()["code"] == "session_required"
    assert ApiToken.objects.count() == 1


def test_a_read_token_cannot_make_or_revoke_tokens(api, owner):
    client = api(owner, ["read"])
    token = ApiToken.objects.get()
    assert client.post("/api/v1/tokens", {"name": "x"}).status_code == 403
    assert client.delete(f"/api/v1/tokens/{token.pk}").status_code == 403
    assert client.get("/api/v1/tokens").status_code == 200


def test_a_write_only_token_cannot_read(api, owner):
    response = api(owner, ["write"]).get("/api/v1/me")
    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_a_revoked_token_stops_at_once(api, owner):
    client = api(owner)
    token = ApiToken.objects.get()
    assert client.delete(f"/api/v1/tokens/{token.pk}").status_code == 204
    response = client.get("/api/v1/me")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert ApiToken.objects.filter(pk=token.pk).exists()


def test_a_strangers_token_is_not_there(api, owner, stranger):
    token, _ = ApiToken.issue(owner=owner, name="mine")
    client = api(stranger)
    assert client.get(f"/api/v1/tokens/{token.pk}").status_code == 404
    assert client.delete(f"/api/v1/tokens/{token.pk}").status_code == 404
    assert str(token.pk) not in client.get("/api/v1/tokens").content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["admin"]}, "scopes"),
        ({"name": "x", "scopes": "read"}, "scopes"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
        ([], "non_field_errors"),
    ],
)
def test_bad_input_is_told_by_field(session, body, field):
    response = session.post("/api/v1/tokens", body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


@pytest.mark.parametrize(
    "path", ["/api/v1/me", "/api/v1/tokens", f"/api/v1/tokens/{'0' * 8}-0000-7000-8000-{'0' * 12}"]
)
def test_the_anonymous_are_refused_with_a_challenge(api, path, db):
    response = api().get(path)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer nonsense", "Bearer rag_ÿ", "bearer x y", "Bearer \x00"]
)
def test_a_wrong_token_is_refused(api, header, db):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=header)
    response = client.get("/api/v1/me")
    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"


def test_who_sends_wrong_tokens_is_slowed_down_without_asking_the_database(
    api, owner, settings, monkeypatch, django_assert_num_queries
):
    monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, "failures", "3/min")
    client, wrong = api(owner), api()
    wrong.credentials(HTTP_AUTHORIZATION="Bearer wrong")
    for _ in range(5):
        assert client.get("/api/v1/me").status_code == 200
    assert [wrong.get("/api/v1/me").status_code for _ in range(3)] == [401, 401, 401]
    with django_assert_num_queries(0):
        response = wrong.get("/api/v1/me")
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 20
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    assert wrong.get("/api/v1/me", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 401


def test_an_expired_token_is_refused(api, owner):
    _, secret = ApiToken.issue(owner=owner, name="old", expires_at=timezone.now() - timedelta(seconds=1))
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert client.get("/api/v1/me").status_code == 401


def test_use_is_noted_at_most_once_a_minute(api, owner, django_assert_num_queries):
    client = api(owner)
    with django_assert_num_queries(2):  # token with its owner; last_used_at
        client.get("/api/v1/me")
    noted = ApiToken.objects.get().last_used_at
    assert noted is not None
    with django_assert_num_queries(1):  # token with its owner
        client.get("/api/v1/me")
    assert ApiToken.objects.get().last_used_at == noted
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    client.get("/api/v1/me")
    assert ApiToken.objects.get().last_used_at > noted


def test_a_session_needs_a_csrf_token_to_write(owner):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(owner, "django.contrib.auth.backends.ModelBackend")
    response = client.post("/api/v1/tokens", {"name": "x"})
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("rows", [2, 20])
def test_the_list_takes_the_same_queries_whatever_its_length(api, owner, rows, django_assert_num_queries):
    client = api(owner)
    for _ in range(rows):
        ApiToken.issue(owner=owner, name="x")
    client.get("/api/v1/me")
    with django_assert_num_queries(2):  # token with its owner; the page
        assert len(client.get("/api/v1/tokens?page_size=100").json()["results"]) == rows + 1


def test_the_list_is_paged_by_whole_urls(api, owner):
    client = api(owner)
    for number in range(4):
        ApiToken.issue(owner=owner, name=str(number))
    first = client.get("/api/v1/tokens?page_size=3").json()
    assert first["previous"] is None
    assert urlsplit(first["next"]).scheme == "http"
    second = client.get(first["next"]).json()
    names = [token["name"] for token in first["results"] + second["results"]]
    assert names == ["3", "2", "1", "0", "test"]
    assert second["next"] is None
    assert client.get(second["previous"]).json()["results"] == first["results"]
