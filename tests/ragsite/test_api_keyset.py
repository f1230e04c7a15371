"""Pages by keyset, on the users' table: it has a nullable column (last_login) and ties (first_name)."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.core import signing
from django.db import connection
from django.db.models import F
from django.db.models.functions import Lower, Upper
from django.test.utils import CaptureQueriesContext

from ragsite.accounts.models import User
from ragsite.api.keyset import SALT, InvalidCursor, keyset_page

pytestmark = pytest.mark.django_db

ORDERINGS = [
    ("id",),
    ("-id",),
    ("-date_joined", "-id"),
    ("first_name", "id"),
    ("-first_name", "id"),
    ("first_name", "-date_joined", "id"),
    (Lower("first_name"), "id"),
    (Lower("first_name").desc(), "-id"),
    ("last_login", "id"),
    ("-last_login", "-id"),
    ("last_login", "-id"),
    ("-last_login", "id"),
    ("first_name", "last_login", "id"),
    ("-first_name", "-last_login", "-id"),
    (F("last_login"), "id"),
    ("is_staff", "-id"),
]


@pytest.fixture
def people(db):
    chance = random.Random(7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    User.objects.bulk_create(
        User(
            username=f"u{number}",
            first_name=chance.choice(["Ann", "ann", "Bob", "Çelik", ""]),
            date_joined=start + timedelta(microseconds=chance.randrange(5)),
            last_login=chance.choice([None, start, start + timedelta(microseconds=1)]),
            is_staff=chance.random() < 0.5,
        )
        for number in range(23)
    )


def everything(ordering):
    return list(User.objects.order_by(*ordering).values_list("pk", flat=True))


def walk(ordering, size, backwards=False):
    """All pages forwards; then, from the last one, all pages back."""
    page = keyset_page(User.objects.all(), ordering, None, size)
    pages = [page]
    while page.next_cursor:
        page = keyset_page(User.objects.all(), ordering, page.next_cursor, size)
        pages.append(page)
    back = [page]
    while page.previous_cursor:
        page = keyset_page(User.objects.all(), ordering, page.previous_cursor, size)
        back.append(page)
    return back[::-1] if backwards else pages


@pytest.mark.parametrize("ordering", ORDERINGS, ids=str)
@pytest.mark.parametrize("size", [1, 4, 23, 100])
@pytest.mark.parametrize("backwards", [False, True])
def test_pages_give_every_row_once_and_in_order(people, ordering, size, backwards):
    found = [user.pk for page in walk(ordering, size, backwards) for user in page.items]
    assert found == everything(ordering)


def test_the_ends_have_no_further_page(people):
    assert keyset_page(User.objects.all(), ("id",), None, 23).next_cursor is None
    first = keyset_page(User.objects.all(), ("id",), None, 10)
    assert first.previous_cursor is None
    second = keyset_page(User.objects.all(), ("id",), first.next_cursor, 10)
    assert keyset_page(User.objects.all(), ("id",), second.previous_cursor, 10).previous_cursor is None


def test_rows_that_come_meanwhile_neither_repeat_nor_hide_others(people):
    before = everything(("-id",))
    first = keyset_page(User.objects.all(), ("-id",), None, 10)
    User.objects.create(username="newest")
    second = keyset_page(User.objects.all(), ("-id",), first.next_cursor, 20)
    assert [user.pk for user in first.items + second.items] == before


def test_a_page_whose_rows_are_gone_leads_back_to_what_is_left(people):
    first = keyset_page(User.objects.all(), ("id",), None, 10)
    User.objects.filter(pk__gt=first.items[-1].pk).delete()
    empty = keyset_page(User.objects.all(), ("id",), first.next_cursor, 10)
    assert empty.items == []
    assert empty.next_cursor is None
    assert keyset_page(User.objects.all(), ("id",), empty.previous_cursor, 10).items == first.items


def test_a_way_back_whose_rows_are_gone_leads_forwards_again(people):
    first = keyset_page(User.objects.all(), ("id",), None, 10)
    second = keyset_page(User.objects.all(), ("id",), first.next_cursor, 10)
    User.objects.filter(pk__lt=second.items[0].pk).delete()
    empty = keyset_page(User.objects.all(), ("id",), second.previous_cursor, 10)
    assert empty.items == []
    assert empty.previous_cursor is None
    assert keyset_page(User.objects.all(), ("id",), empty.next_cursor, 10).items == second.items


def test_an_empty_list_is_one_empty_page():
    page = keyset_page(User.objects.all(), ("id",), None, 10)
    assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)


@pytest.mark.parametrize("ordering", ORDERINGS, ids=str)
def test_a_page_is_one_query(people, ordering, django_assert_num_queries):
    cursor = keyset_page(User.objects.all(), ordering, None, 5).next_cursor
    with django_assert_num_queries(1):  # the page and whether there is another
        keyset_page(User.objects.all(), ordering, cursor, 5)


@pytest.mark.parametrize(
    ("ordering", "condition"),
    [
        (("-date_joined", "-id"), '("accounts_user"."date_joined", "accounts_user"."id") < ('),
        ((Upper("username"), "id"), '(UPPER("accounts_user"."username"), "accounts_user"."id") > ('),
        (("-last_login", "-id"), '("accounts_user"."last_login", "accounts_user"."id") < ('),
    ],
)
def test_where_all_go_one_way_rows_are_compared_whole(people, ordering, condition):
    User.objects.update(last_login="2026-01-01T00:00Z")
    cursor = keyset_page(User.objects.all(), ordering, None, 5).next_cursor
    with CaptureQueriesContext(connection) as queries:
        keyset_page(User.objects.all(), ordering, cursor, 5)
    assert condition in queries[0]["sql"]


def test_a_deep_page_is_read_from_the_index(people):
    cursor = keyset_page(User.objects.all(), ("-date_joined", "-id"), None, 5).next_cursor
    with CaptureQueriesContext(connection) as queries:
        keyset_page(User.objects.all(), ("-date_joined", "-id"), cursor, 5)
    with connection.cursor() as db:
        db.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        db.execute("EXPLAIN " + queries[0]["sql"])
        plan = "\n".join(line for (line,) in db.fetchall())
    assert "accounts_user_joined_idx" in plan
    assert "Index Cond: (ROW(date_joined, id) < ROW(" in plan


def good_cursor(ordering=("id",)):
    return keyset_page(User.objects.all(), ordering, None, 5).next_cursor


@pytest.mark.parametrize("ordering", [("-id",), ("first_name", "id"), (Lower("first_name"), "id")], ids=str)
def test_a_cursor_of_another_ordering_is_refused(people, ordering):
    with pytest.raises(InvalidCursor):
        keyset_page(User.objects.all(), ordering, good_cursor(), 5)


def test_a_broken_or_forged_cursor_is_refused(people):
    good = good_cursor()
    payload = signing.loads(good, salt=SALT)
    forged = signing.dumps(payload, salt="another", key="k" * 50)
    short = signing.dumps([payload[0], "f", []], salt=SALT)
    odd = signing.dumps([payload[0], "f", ["x"]], salt=SALT)
    shapeless = signing.dumps(7, salt=SALT)
    for cursor in ["x", "é:é:é", good[:-1], good + "A", "." + good, forged, short, odd, shapeless]:
        with pytest.raises(InvalidCursor):
            keyset_page(User.objects.all(), ("id",), cursor, 5)
