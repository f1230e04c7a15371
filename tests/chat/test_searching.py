"""Searches in lists, where many rows hold the words: each page looks at a stretch, and all together miss nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from chat.models import Conversation
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.test_conversations_api import said

pytestmark = pytest.mark.django_db
Client = Callable[..., APIClient]
SAID = ("The Rhine is long.", "Rhinoceros and a tower.", "Nothing of the kind.", "A tower by the Rhine.")


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So low that the rows of a test are many."""
    for module in ("chat.searching", "documents.naming"):
        monkeypatch.setattr(f"{module}.FEW", 3)
        monkeypatch.setattr(f"{module}.LOOKED_AT", 4)


@pytest.fixture
def talks(owner: User, stranger: User) -> list[str]:
    """Titles, the newest first; the words lie in stretches of their own, with gaps of more than a page looks at."""
    for number in range(20):
        said(Conversation.objects.create(owner=owner, title=f"talk {number}"), SAID[number // 5])
        said(Conversation.objects.create(owner=stranger, title=f"theirs {number}"), SAID[0])
    return [f"talk {number}" for number in reversed(range(20))]


def followed(client: APIClient, url: str, way: str = "next") -> tuple[list[list[dict[str, Any]]], str | None]:
    """All pages from this one on, and the address of the last."""
    pages, last = [], None
    while url:
        last, body = url, client.get(url).json()
        pages.append(body["results"])
        url = body[way]
    return pages, last


FITTING: dict[str, list[int]] = {
    "rhine": [*range(5), *range(15, 20)],  # more than the index is asked for
    "rhin": [*range(10), *range(15, 20)],
    "tower rhine": [*range(15, 20)],
    "t": [*range(20)],
    "a to": [*range(5, 10), *range(15, 20)],
    "talk 1": [1, *range(10, 20)],
    "rhine t 19": [],  # no title and no message holds all three
    "nobody": [],
    "talk 17": [17],
}


def test_the_pages_together_hold_all_that_fits_in_its_order(owner, api, talks):
    client = api(owner)
    for words, numbers in FITTING.items():
        pages, _ = followed(client, f"/api/v1/conversations?page_size=7&search={words}")
        found = [row["title"] for page in pages for row in page]
        assert found == [title for title in talks if int(title.split()[1]) in numbers], words


def test_pages_lead_back_to_where_they_began(owner, api, talks):
    client = api(owner)
    pages, last = followed(client, "/api/v1/conversations?page_size=4&search=rhine")
    assert [] in pages, "a stretch without any, and more behind it"
    back, _ = followed(client, last, "previous")
    titles = [[row["title"] for row in page] for page in back]
    assert [title for page in reversed(titles) for title in page] == [row["title"] for page in pages for row in page]


def test_documents_are_found_by_name_in_every_order(owner, api):
    names = [f"{'annual ' * (number % 2)}report {number}.txt" for number in range(12)]
    names += [f"other {number}.txt" for number in range(12)]
    Document.objects.bulk_create(
        Document(owner=owner, filename=name, size=len(name) + 1, sha256=number.to_bytes(32), content_type="text/plain")
        for number, name in enumerate(names)
    )
    for ordering, words, fits in (
        ("-uploaded_at", "report", 12), ("filename", "r", 12), ("-size", "annual report", 6), ("filename", "zebra", 0),
    ):  # fmt: skip
        listed = [f"/api/v1/documents?page_size=9&ordering={ordering}{more}" for more in (f"&search={words}", "")]
        found, everything = (
            [row["filename"] for page in followed(api(owner), url)[0] for row in page] for url in listed
        )
        assert found == [name for name in everything if all(f" {word}" in f" {name}" for word in words.split())]
        assert len(found) == fits


def test_a_page_of_the_site_says_that_there_is_more_to_look_through(owner, client, talks):
    client.force_login(owner)
    shown = client.get("/?search=of the kind").content.decode()
    assert "Not in those looked through so far." in shown
    assert 'id="more-conversations"' in shown
