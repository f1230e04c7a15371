"""The page of imports."""

import pytest

from documents.importing.models import Import, ImportItem
from documents.models import Collection

pytestmark = pytest.mark.django_db
PAGE = "/library/imports/"


def test_a_person_imports_from_an_address_without_javascript(owner, signed_in):
    browser = signed_in(owner)
    papers = Collection.objects.create(owner=owner, name="Papers")
    answer = browser.post(PAGE, {"url": "https://example.org/paper.pdf", "collection": papers.id}, follow=True)
    assert "https://example.org/paper.pdf" in answer.content.decode()
    assert Import.objects.get().collections == [papers.id]
    assert 'hx-trigger="every 2s"' in answer.content.decode()


def test_what_is_no_address_is_told_at_its_field(owner, stranger, signed_in):
    answer = signed_in(owner).post(PAGE, {"url": "ftp://example.org/"})
    assert answer.status_code == 400
    assert "A web address begins with" in answer.content.decode()
    theirs = Collection.objects.create(owner=stranger, name="Theirs")
    assert signed_in(owner).post(PAGE, {"url": "https://a.example", "collection": theirs.id}).status_code == 400
    assert not Import.objects.exists()


def test_each_import_says_what_became_of_it_and_strangers_see_none(owner, stranger, signed_in):
    job = Import.objects.create(owner=owner, kind="archive", source="<b>a.zip", status="done", total=2, done=2)
    ImportItem.objects.create(job=job, position=0, name="<i>x.bin", outcome="refused", code="unsupported", detail="No.")
    ImportItem.objects.create(job=job, position=1, name="a.txt", outcome="created", document_id=job.id)
    failed = Import.objects.create(owner=owner, kind="address", source="https://a.example", status="failed",
                                   error_code="timeout", error_detail="It took too long.")  # fmt: skip
    shown = signed_in(owner).get(PAGE).content.decode()
    assert "1 new, 1 refused" in shown
    assert "&lt;i&gt;x.bin" in shown
    assert "<b>a.zip" not in shown
    assert "It took too long." in shown
    assert "every 2s" not in shown
    assert "a.zip" not in signed_in(stranger).get(PAGE).content.decode()
    assert signed_in(stranger).post(f"{PAGE}{failed.id}/drop/").status_code == 404
    assert signed_in(owner).post(f"{PAGE}{failed.id}/drop/").status_code == 302
    assert list(Import.objects.all()) == [job]


def test_the_list_asks_the_same_however_long_it_is(owner, signed_in, django_assert_max_num_queries):
    for number in range(20):
        Import.objects.create(owner=owner, kind="address", source=f"https://a.example/{number}")
    browser = signed_in(owner)
    browser.get(PAGE)
    with django_assert_max_num_queries(6):  # session, user, imports with their counts, collections
        assert browser.get(PAGE).status_code == 200
