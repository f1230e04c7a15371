"""Documents and collections over REST: as owner, stranger, deactivated and anonymous."""

import errno
from email.message import EmailMessage
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from documents import services
from documents.models import Chunk, Collection, Document, DocumentText, Embedding, Membership
from documents.services import upload_document
from ragsite.accounts.models import IdempotencyKey, User

MARKDOWN = "# Rivers\n\nThe Amazon flows through Peru.\n"


def post_file(client, content=b"Some words.", name="note.txt", **fields):
    file = SimpleUploadedFile(name, content)
    return client.post("/api/v1/documents", {"file": file, **fields}, format="multipart")


@pytest.fixture
def document(owner, upload) -> Document:
    return upload(owner, MARKDOWN, "rivers.md")


@pytest.fixture
def done(owner, processed) -> Document:
    return processed(owner, MARKDOWN, "rivers.md")


ENDPOINTS = [
    ("get", "/api/v1/documents/{id}"),
    ("patch", "/api/v1/documents/{id}"),
    ("delete", "/api/v1/documents/{id}"),
    ("post", "/api/v1/documents/{id}/retry"),
    ("post", "/api/v1/documents/{id}/reprocess"),
    ("get", "/api/v1/documents/{id}/text"),
    ("get", "/api/v1/documents/{id}/file"),
    ("get", "/api/v1/documents/{id}/pages/1"),
    ("get", "/api/v1/documents/{id}/pages/1/boxes?start=0&end=1"),
    ("get", "/api/v1/documents/{id}/chunks"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_strangers_document_is_not_found(method, path, document, stranger, api):
    response = getattr(api(stranger), method)(path.format(id=document.id), {}, format="json")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert "rivers" not in response.content.decode()
    assert Document.objects.filter(id=document.id).exists()


@pytest.mark.parametrize(("method", "path"), [*ENDPOINTS, ("get", "/api/v1/documents"), ("post", "/api/v1/search")])
def test_the_anonymous_and_the_deactivated_are_told_to_sign_in(method, path, document, owner, api):
    client = api(owner)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    for caller in (api(), client):
        assert getattr(caller, method)(path.format(id=document.id), {}, format="json").status_code == 401


def test_an_upload_is_a_document(owner, api):
    response = post_file(api(owner), MARKDOWN.encode(), "rivers.md")
    assert response.status_code == 201
    body = response.json()
    assert (body["filename"], body["content_type"], body["size"]) == ("rivers.md", "text/markdown", len(MARKDOWN))
    assert (body["status"], body["searchable"], body["error"], body["collections"]) == ("uploaded", False, None, [])


def test_the_same_content_is_the_same_document_for_one_owner_and_says_nothing_to_another(owner, stranger, api):
    first = post_file(api(owner))
    again = post_file(api(owner), name="other-name.txt")
    foreign = post_file(api(stranger))
    assert (first.status_code, again.status_code, foreign.status_code) == (201, 200, 201)
    assert first.json()["id"] == again.json()["id"] != foreign.json()["id"]
    assert Document.objects.count() == 2


def test_the_same_content_is_added_to_the_collection_that_is_named(owner, api):
    collection = Collection.objects.create(owner=owner, name="Reports")
    post_file(api(owner))
    again = post_file(api(owner), collection=str(collection.id))
    assert again.json()["collections"] == [str(collection.id)]


def test_a_strangers_collection_takes_no_documents(owner, stranger, api):
    collection = Collection.objects.create(owner=stranger, name="Secret")
    response = post_file(api(owner), collection=str(collection.id))
    assert response.status_code == 404
    assert not Document.objects.exists()
    assert not Membership.objects.exists()


@pytest.mark.parametrize(
    ("content", "name", "status", "code"),
    [
        (b"", "empty.txt", 422, "empty"),
        (b"8BPS" + bytes(100), "picture.txt", 415, "unsupported"),
        (bytes(range(256)) * 40, "noise.bin", 415, "unsupported"),
        (b"\x1f\x8b\x08" + bytes(99), "data.json", 415, "unsupported"),
    ],
)
def test_what_is_not_taken_is_refused_with_a_reason_and_leaves_nothing(owner, api, content, name, status, code):
    response = post_file(api(owner), content, name)
    assert response.status_code == status
    body = response.json()
    assert body["code"] == code
    assert len(body["detail"]) > 15
    assert body["errors"]["file"]
    assert not Document.objects.exists()


def test_a_file_that_is_too_large_is_refused(owner, api, settings):
    settings.RAGSITE_MAX_UPLOAD_MB = 0
    response = post_file(api(owner))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_an_upload_without_a_file_is_told_what_is_missing(owner, api):
    response = api(owner).post("/api/v1/documents", {}, format="multipart")
    assert response.status_code == 400
    assert "file" in response.json()["errors"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\boot.ini", "a\x00b.txt", "  ", "." * 300, "nul\n.txt"])
def test_a_name_never_becomes_a_path(owner, api, name):
    response = post_file(api(owner), name=name or "x")
    assert response.status_code == 201
    document = Document.objects.get()
    assert "/" not in document.filename
    assert "\\" not in document.filename
    assert document.file.name.startswith(f"{owner.pk}/{document.id}/")


def test_a_full_disk_is_told_and_leaves_nothing_behind(owner, api, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("django.core.files.storage.FileSystemStorage._save", full)
    response = post_file(api(owner))
    assert (response.status_code, response.json()["code"]) == (507, "disk_full")
    assert not Document.objects.exists()


def test_a_fault_after_the_file_is_stored_leaves_no_file_behind(owner, api, monkeypatch):
    folder = Path(default_storage.path(str(owner.pk)))
    stored = []

    def fail(*args, **kwargs):
        stored.extend(path for path in folder.rglob("*") if path.is_file())
        raise RuntimeError("a fault of the site")

    monkeypatch.setattr("documents.services._insert_memberships", fail)
    client = api(owner)
    client.raise_request_exception = False
    assert post_file(client).status_code == 500
    assert stored
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_the_key_of_a_deleted_document_uploads_it_anew_and_keeps_no_name(owner, api):
    client = api(owner)

    def send():
        file = SimpleUploadedFile("secret name.txt", b"one")
        return client.post("/api/v1/documents", {"file": file}, format="multipart", HTTP_IDEMPOTENCY_KEY="key-1")

    first = send().json()
    assert "secret" not in str(list(IdempotencyKey.objects.values_list("body", "request_line", "key")))
    services.delete_documents(owner_id=owner.id, documents=[first["id"]])
    again = send()
    assert again.status_code == 201
    assert "Idempotency-Replayed" not in again
    assert again.json()["id"] != first["id"]
    replayed = send()
    assert replayed["Idempotency-Replayed"] == "true"
    assert replayed.json()["id"] == again.json()["id"]


def test_an_idempotency_key_gives_the_first_document_again(owner, api):
    client = api(owner)
    headers = {"HTTP_IDEMPOTENCY_KEY": "key-1"}

    def send(content):
        file = SimpleUploadedFile("a.txt", content)
        return client.post("/api/v1/documents", {"file": file}, format="multipart", **headers)

    first, again, other = send(b"one"), send(b"one"), send(b"two")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.json()["id"] == again.json()["id"]


def test_an_upload_whose_process_died_before_its_end_replaces_when_it_is_sent_again(owner, api, done, monkeypatch):
    client = api(owner)

    def send():
        return post_file(client, b"Other words.", "other.md", replaces=done.id, on_duplicate_name="replace")

    def dies(*args, **kwargs):
        raise SystemExit

    client.credentials(HTTP_IDEMPOTENCY_KEY="key-1", **client._credentials)
    with monkeypatch.context() as patch:
        patch.setattr("documents.api.settle_upload", dies)
        patch.setattr("ragsite.api.idempotency._give_back", lambda held: None)
        with pytest.raises(SystemExit):
            send()
    assert IdempotencyKey.objects.get().status is None
    monkeypatch.setattr("ragsite.lifeline.has_ended", lambda mark: True)
    again = send()
    assert Document.objects.get(id=again.json()["id"]).replaces_id == done.id


def test_a_processed_document_shows_its_text_chunks_and_file(owner, api, done):
    client = api(owner)
    shown = client.get(f"/api/v1/documents/{done.id}").json()
    assert (shown["status"], shown["searchable"], shown["remaining_seconds"]) == ("processed", True, 0)
    assert client.get(f"/api/v1/documents/{done.id}/text").json() == {"text": MARKDOWN, "pages": []}
    chunks = client.get(f"/api/v1/documents/{done.id}/chunks").json()["results"]
    assert [chunk["position"] for chunk in chunks] == list(range(done.chunk_count))
    assert all(MARKDOWN[chunk["start"] : chunk["end"]] == chunk["text"] for chunk in chunks)
    file = client.get(f"/api/v1/documents/{done.id}/file")
    assert b"".join(file.streaming_content) == MARKDOWN.encode()
    assert file["Content-Disposition"].startswith("attachment")


def test_the_temporary_file_of_a_stored_upload_is_closed(owner):
    file = TemporaryUploadedFile("note.md", "text/markdown", 11, None)
    file.write(b"Some words.")
    file.seek(0)
    stored = upload_document(owner=owner, file=file, filename="note.md").document
    assert file.closed, "else it complains, when it is collected, that what it would remove has been moved"
    assert stored.file.read() == b"Some words."


def test_html_is_never_served_as_html(owner, api, upload):
    document = upload(owner, "<html><body><script>alert(1)</script></body></html>", "evil.html")
    file = api(owner).get(f"/api/v1/documents/{document.id}/file")
    assert file["Content-Type"] == "application/octet-stream"
    assert file["Content-Disposition"].startswith("attachment")
    assert file["X-Content-Type-Options"] == "nosniff"


def test_a_text_that_is_not_there_yet_is_a_conflict(owner, api, document):
    assert api(owner).get(f"/api/v1/documents/{document.id}/text").json()["code"] == "not_extracted"


def test_renaming_and_collections(owner, api, document):
    client = api(owner)
    collection = client.post("/api/v1/collections", {"name": "Water"}).json()
    path = f"/api/v1/documents/{document.id}"
    changed = client.patch(path, {"filename": "streams.md", "collections": [collection["id"]]}).json()
    assert (changed["filename"], changed["collections"]) == ("streams.md", [collection["id"]])
    assert client.get(f"/api/v1/collections/{collection['id']}").json()["document_count"] == 1
    assert client.patch(path, {"collections": []}).json()["collections"] == []
    assert client.patch(path, {"filename": ""}).status_code == 400


def test_deleting_removes_everything_that_came_from_the_document(owner, api, done, django_capture_on_commit_callbacks):
    collection = Collection.objects.create(owner=owner, name="Water")
    Membership.objects.create(owner=owner, collection=collection, document=done)
    with django_capture_on_commit_callbacks(execute=True):
        assert api(owner).delete(f"/api/v1/documents/{done.id}").status_code == 204
    for model in (Document, DocumentText, Chunk, Embedding, Membership):
        assert not model.objects.exists(), model
    assert not default_storage.exists(done.file.name)
    assert Collection.objects.filter(id=collection.id).exists()
    assert api(owner).delete(f"/api/v1/documents/{done.id}").status_code == 404


def test_deleting_a_collection_leaves_its_documents(owner, api, document):
    collection = Collection.objects.create(owner=owner, name="Water")
    Membership.objects.create(owner=owner, collection=collection, document=document)
    assert api(owner).delete(f"/api/v1/collections/{collection.id}").status_code == 204
    assert Document.objects.filter(id=document.id).exists()


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_a_strangers_collection_is_not_found(method, owner, stranger, api):
    collection = Collection.objects.create(owner=owner, name="Water")
    response = getattr(api(stranger), method)(f"/api/v1/collections/{collection.id}", {"name": "Mine"})
    assert response.status_code == 404
    assert Collection.objects.get().name == "Water"


def test_a_collections_name_is_taken_once(owner, stranger, api):
    assert api(owner).post("/api/v1/collections", {"name": "Water"}).status_code == 201
    assert api(owner).post("/api/v1/collections", {"name": "WATER"}).json()["code"] == "name_taken"
    assert api(stranger).post("/api/v1/collections", {"name": "Water"}).status_code == 201


def test_only_what_failed_can_be_retried_and_only_what_rests_reprocessed(owner, api, document):
    client = api(owner)
    assert client.post(f"/api/v1/documents/{document.id}/retry").json()["code"] == "not_failed"
    assert client.post(f"/api/v1/documents/{document.id}/reprocess").json()["code"] == "in_work"
    Document.objects.update(status="failed", error_code="broken", error_detail="It is broken.", error_retryable=False)
    assert client.get(f"/api/v1/documents/{document.id}").json()["error"]["code"] == "broken"
    response = client.post(f"/api/v1/documents/{document.id}/retry")
    assert (response.status_code, response.json()["status"], response.json()["error"]) == (202, "uploaded", None)


def test_the_list_is_narrowed_and_sorted(owner, stranger, api, upload):
    client = api(owner)
    for name in ("Annual_report-2022.md", "annual budget.md", "Notes on rivers.txt"):
        upload(owner, name, name)
    upload(stranger, "x", "annual secret.md")
    collection = Collection.objects.create(owner=owner, name="Water")
    notes = Document.objects.get(filename__startswith="Notes")
    Membership.objects.create(owner=owner, collection=collection, document=notes)

    def names(query: str) -> list[str]:
        response = client.get(f"/api/v1/documents?{query}")
        assert response.status_code == 200, response.content
        return [entry["filename"] for entry in response.json()["results"]]

    assert len(names("")) == 3
    assert names("search=annu") == ["annual budget.md", "Annual_report-2022.md"]
    assert names("search=report 2022") == ["Annual_report-2022.md"]
    assert names("search=rivers") == ["Notes on rivers.txt"]
    assert names("search=%27%5C%3A*%28%26") == []
    assert names("content_type=text/plain") == ["Notes on rivers.txt"]
    assert names(f"collection={collection.id}") == ["Notes on rivers.txt"]
    assert names("status=processed") == []
    assert names("ordering=filename") == ["annual budget.md", "Annual_report-2022.md", "Notes on rivers.txt"]
    assert names("ordering=-size")[0] == "Annual_report-2022.md"
    assert client.get("/api/v1/documents?ordering=owner").status_code == 400
    assert client.get("/api/v1/documents?status=lost").status_code == 400
    assert client.get("/api/v1/documents?collection=x").status_code == 400


def test_pages_of_a_list_follow_each_other(owner, api, upload):
    for number in range(5):
        upload(owner, f"text {number}", f"{number}.txt")
    client, url, seen = api(owner), "/api/v1/documents?page_size=2&ordering=uploaded_at", []
    while url:
        page = client.get(url).json()
        seen += [entry["filename"] for entry in page["results"]]
        url = page["next"]
    assert seen == ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]


def test_the_list_asks_the_database_as_often_for_twenty_as_for_two(owner, api, upload):
    client = api(owner)
    counts = []
    for target in (2, 20):
        for number in range(Document.objects.count(), target):
            upload(owner, f"text {number}", f"{number}.txt")
        client.get("/api/v1/documents")  # the token's last use is noted once
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get("/api/v1/documents?page_size=100")
        counts.append(len(queries))
    # The token with its owner; the documents; their memberships. As some are in work: rates, the queue, places in it.
    assert counts == [6, 6]


NOTHING = "0190a0a0-0000-7000-8000-000000000000"


@pytest.mark.parametrize("path", ["documents/x", f"documents/{NOTHING}", "collections/1"])
def test_an_id_that_names_nothing_is_not_found(path, owner, api):
    assert api(owner).get(f"/api/v1/{path}").status_code == 404


def test_what_could_not_be_read_of_a_file_is_told(owner, api, signed_in, processed):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "The report"
    message.set_content("Here is the report that you asked for.")
    message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename="blob.bin")
    document = processed(owner, message.as_bytes(), "mail.eml")
    shown = api(owner).get(f"/api/v1/documents/{document.id}").json()
    assert shown["page_kind"] == "part"
    assert any("blob.bin" in warning for warning in shown["warnings"])
    assert b"blob.bin" in signed_in(owner).get(f"/library/{document.id}/").content
