"""Lists as the API gives them."""

from urllib.parse import parse_qs, urlsplit

import pytest

from ragsite.accounts.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ragsite.api_urls")]
PATH = "/api/v1/test/people"


@pytest.fixture
def client(api, owner):
    User.objects.bulk_create(User(username=f"u{number:03}") for number in range(129))
    return api(owner)


def test_the_default_page_has_25_rows_in_the_first_ordering(client):
    body = client.get(PATH).json()
    assert len(body["results"]) == 25
    assert body["results"][0] == "u128"


def test_links_keep_the_other_parameters(client):
    body = client.get(f"{PATH}?ordering=username&page_size=7&x=a%26b").json()
    query = parse_qs(urlsplit(body["next"]).query)
    assert query["ordering"] == ["username"]
    assert query["page_size"] == ["7"]
    assert query["x"] == ["a&b"]
    second = client.get(body["next"]).json()
    assert second["results"][0] == "u006"
    assert client.get(second["previous"]).json()["results"] == body["results"]


def test_a_page_has_at_most_100_rows(client):
    assert len(client.get(f"{PATH}?page_size=1000").json()["results"]) == 100


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", "", "9" * 30, "²"])
def test_a_page_size_that_is_none_is_refused(client, size):
    response = client.get(f"{PATH}?page_size={size}")
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["page_size"]


def test_an_unknown_ordering_is_refused_with_the_known_ones(client):
    response = client.get(f"{PATH}?ordering=password")
    assert response.status_code == 400
    assert "-date_joined, username" in response.json()["errors"]["ordering"][0]


def test_a_broken_cursor_and_one_of_another_ordering_are_refused(client):
    cursor = parse_qs(urlsplit(client.get(PATH).json()["next"]).query)["cursor"][0]
    for query in ("cursor=x", f"ordering=username&cursor={cursor}"):
        response = client.get(f"{PATH}?{query}")
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_cursor"
