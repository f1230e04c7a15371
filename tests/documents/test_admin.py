"""Documents in the admin: as quick for many as for few, and no text without the permission for it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from documents.models import Chunk, Collection, Document
from ragsite.accounts.models import User

TEXT = "# Secret heading\n\nThe secret passage is here.\n"
LIST = reverse("admin:documents_document_changelist")


def change_url(document: Document) -> str:
    return reverse("admin:documents_document_change", args=[document.id])


@pytest.fixture
def helper(db) -> User:
    """Staff who may look after documents, but not read them."""
    user = User.objects.create_user("helper", password="correct horse battery", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_document", "change_document", "delete_document"])
    )
    return user


@pytest.fixture
def document(owner, processed) -> Document:
    return processed(owner, TEXT, "plain.md")


def test_no_text_is_shown_without_the_permission(helper, staff, document, signed_in):
    for url in (LIST, change_url(document)):
        assert b"ecret" not in signed_in(helper).get(url).content
    page = signed_in(staff).get(change_url(document)).content.decode()
    assert "The secret passage is here." in page


@pytest.mark.parametrize(
    "query", ["title__startswith=S", "sha256=1", "content__text__contains=secret", "error_detail__contains=S"]
)
def test_the_address_of_the_list_answers_no_question_about_texts(helper, signed_in, query):
    assert signed_in(helper).get(f"{LIST}?{query}").status_code == 400


def test_the_list_is_filtered_by_state_owner_and_id(helper, owner, upload, signed_in):
    document = upload(owner, TEXT, "plain.md")
    for query in ("status__exact=uploaded", f"owner__id__exact={document.owner_id}", f"id={document.id}"):
        assert b"plain.md" in signed_in(helper).get(f"{LIST}?{query}").content
    assert b"plain.md" not in signed_in(helper).get(f"{LIST}?status__exact=failed").content


def test_texts_are_escaped(staff, owner, processed, signed_in):
    document = processed(owner, "# <script>alert(1)</script>\n\n<img src=x onerror=alert(2)>\n", "evil.md")
    page = signed_in(staff).get(change_url(document)).content.decode()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_list_asks_as_often_for_many_as_for_few_and_counts_nothing_whole(staff, owner, upload, signed_in):
    client = signed_in(staff)
    counts = []
    for target in (2, 20):
        for number in range(Document.objects.count(), target):
            upload(owner, f"text {number}", f"{number}.txt")
        client.get(LIST)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(LIST).status_code == 200
        counts.append(len(queries))
        counting = [
            query["sql"] for query in queries if "COUNT(" in query["sql"] and "documents_document" in query["sql"]
        ]
        assert all("LIMIT" in sql for sql in counting)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("term", ["owner", "nobody", "0190a0a0-0000-7000-8000-000000000000", "' OR 1=1"])
def test_search_takes_an_id_or_an_owner(staff, upload, owner, signed_in, term):
    document = upload(owner)
    page = signed_in(staff).get(LIST, {"q": term}).content.decode()
    assert (document.filename in page) == (term == "owner")
    assert document.filename in signed_in(staff).get(LIST, {"q": str(document.id)}).content.decode()


def test_actions_retry_reprocess_and_delete(helper, document, signed_in, django_capture_on_commit_callbacks):
    client = signed_in(helper)

    def act(action: str, **more):
        return client.post(LIST, {"action": action, "_selected_action": [str(document.id)], **more})

    act("reprocess")
    document.refresh_from_db()
    assert document.status == "uploaded"
    Document.objects.update(status="failed", error_code="broken", error_detail="It is broken.")
    act("retry")
    document.refresh_from_db()
    assert (document.status, document.error_code) == ("uploaded", "")
    with django_capture_on_commit_callbacks(execute=True):
        act("delete_selected", post="yes")
    assert not Document.objects.exists()
    assert not Chunk.objects.exists()


def test_collections_are_listed(staff, owner, signed_in):
    Collection.objects.create(owner=owner, name="Water")
    assert b"Water" in signed_in(staff).get(reverse("admin:documents_collection_changelist")).content


def test_people_who_are_not_staff_do_not_come_in(owner, document, signed_in):
    assert signed_in(owner).get(change_url(document)).status_code == 302


def test_the_log_of_the_admin_keeps_no_names(helper, owner, upload, signed_in, django_capture_on_commit_callbacks):
    rows = [upload(owner, f"text {number}", f"Layoffs {number}.txt") for number in range(3)]
    client = signed_in(helper)
    client.post(change_url(rows[0]), {})
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("admin:documents_document_delete", args=[rows[0].id]), {"post": "yes"})
        selected = {"action": "delete_selected", "_selected_action": [str(row.id) for row in rows[1:]], "post": "yes"}
        client.post(LIST, selected)
    logged = LogEntry.objects.values_list("action_flag", "object_id", "object_repr", "change_message")
    assert sorted(logged) == sorted(
        [(2, str(rows[0].id), str(rows[0].id), "[]"), *((3, str(row.id), str(row.id), "") for row in rows)]
    )
