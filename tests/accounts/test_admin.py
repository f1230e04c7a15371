"""People and tokens in the admin; lists of big tables."""

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ragsite import admin_paging
from ragsite.accounts.models import ApiToken, User
from ragsite.admin_paging import BoundedPaginator, estimated_rows
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(staff, signed_in):
    return signed_in(staff)


@pytest.mark.parametrize("path", ["/admin/", "/admin/accounts/user/", "/admin/accounts/apitoken/"])
def test_the_admin_is_for_the_staff(owner, signed_in, client, path):
    assert client.get(path).status_code == 302
    assert signed_in(owner).get(path).status_code == 302


def test_the_admin_has_no_sign_in_of_its_own(staff, owner, client, signed_in):
    response = client.post("/admin/login/?next=/admin/", {"username": "staff", "password": PASSWORD})
    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=%2Fadmin%2F"
    assert "_auth_user_id" not in client.session
    assert signed_in(owner).get("/admin/login/").status_code == 403


def test_a_token_is_shown_without_a_way_to_its_secret(admin, owner):
    token, secret = ApiToken.issue(owner=owner, name="laptop")
    response = admin.get(f"/admin/accounts/apitoken/{token.pk}/change/")
    assert b"laptop" in response.content
    assert secret.encode() not in response.content
    assert token.digest.hex().encode() not in response.content
    assert b'name="name"' not in response.content
    assert admin.get("/admin/accounts/apitoken/add/").status_code == 403


def test_tokens_are_revoked(admin, owner, api):
    program = api(owner)
    token = ApiToken.objects.get()
    admin.post("/admin/accounts/apitoken/", {"action": "revoke", ACTION_CHECKBOX_NAME: [token.pk]})
    assert program.get("/api/v1/me").status_code == 401


def test_users_are_found_by_name_and_not_deleted(admin, owner, stranger):
    content = admin.get("/admin/accounts/user/?q=strang").content
    assert b"stranger@example.com" in content
    assert b"owner@example.com" not in content
    assert admin.post(f"/admin/accounts/user/{owner.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("query", ["apitoken/?digest=1", "user/?password__startswith=p", "user/?email__contains=a"])
def test_lists_are_filtered_by_their_filters_alone(admin, query):
    assert admin.get(f"/admin/accounts/{query}").status_code == 400
    assert admin.get("/admin/accounts/apitoken/?revoked_at__isempty=1").status_code == 200
    assert admin.get("/admin/accounts/user/?is_staff__exact=1").status_code == 200


def test_a_user_is_made_in_the_admin(admin):
    form = {"username": "made", "password1": "a long enough phrase", "password2": "a long enough phrase"}
    assert admin.post("/admin/accounts/user/add/", {**form, "usable_password": "true"}).status_code == 302
    assert User.objects.get(username="made").check_password("a long enough phrase")


@pytest.mark.parametrize("path", ["/admin/accounts/user/", "/admin/accounts/apitoken/"])
def test_lists_take_the_same_queries_whatever_their_length(admin, owner, path):
    counts = []
    for rows in (2, 20):
        for _ in range(rows):
            user = User.objects.create(username=f"u{User.objects.count()}")
            ApiToken.issue(owner=user, name="x")
        with CaptureQueriesContext(connection) as queries:
            assert admin.get(path).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.fixture
def crowd(db):
    User.objects.bulk_create(User(username=f"u{number}", is_staff=number % 2) for number in range(500))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user")


def test_a_big_table_is_estimated_and_never_counted_whole(crowd, monkeypatch):
    monkeypatch.setattr(admin_paging, "COUNT_AT_MOST", 100)
    with CaptureQueriesContext(connection) as queries:
        assert BoundedPaginator(User.objects.order_by("id"), 50).count == 500
    assert "LIMIT 101" in queries[0]["sql"]
    assert "reltuples" in queries[1]["sql"]


def test_a_filtered_big_list_is_counted_up_to_the_bound(crowd, monkeypatch):
    monkeypatch.setattr(admin_paging, "COUNT_AT_MOST", 100)
    assert BoundedPaginator(User.objects.order_by("id").filter(is_staff=True), 50).count == 100
    assert BoundedPaginator(User.objects.order_by("id").filter(username__startswith="u49"), 50).count == 11


def test_a_small_table_is_counted(crowd, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert BoundedPaginator(User.objects.order_by("id"), 50).count == 500


def test_a_stale_estimate_is_never_below_what_was_counted(db, monkeypatch):
    monkeypatch.setattr(admin_paging, "COUNT_AT_MOST", 2)
    monkeypatch.setattr(admin_paging, "estimated_rows", lambda queryset: 0)
    User.objects.bulk_create(User(username=f"u{number}") for number in range(9))
    assert BoundedPaginator(User.objects.order_by("id"), 50).count == 3


def test_partitions_are_estimated_together(db):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE big (id int) PARTITION BY HASH (id)")
        for part in range(2):
            cursor.execute(f"CREATE TABLE big_{part} PARTITION OF big FOR VALUES WITH (MODULUS 2, REMAINDER {part})")
        cursor.execute("INSERT INTO big SELECT generate_series(1, 1000)")
        cursor.execute("ANALYZE big")
    queryset = User.objects.all()
    queryset.model = type("Big", (), {"_meta": type("Meta", (), {"db_table": "big"})})
    assert estimated_rows(queryset) == 1000
