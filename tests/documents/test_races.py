"""Two things at once with one document: each ends as if it had been alone, never with a server error."""

import threading
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from documents.models import Collection, Document

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 2.0


def test_uploads_changes_and_deletes_of_one_content_at_once(owner, api):
    collection = Collection.objects.create(owner=owner, name="Water")
    statuses: set[int] = set()
    ends = time.monotonic() + SECONDS

    def act(step) -> None:
        client = api(owner)
        client.raise_request_exception = False
        while time.monotonic() < ends:
            statuses.add(step(client).status_code)
        connection.close()

    def upload(client):
        body = {"file": SimpleUploadedFile("a.txt", b"The same."), "collection": str(collection.id)}
        return client.post("/api/v1/documents", body, format="multipart")

    def change(client):
        for document in Document.objects.all():
            return client.patch(
                f"/api/v1/documents/{document.id}", {"filename": "b.txt", "collections": [str(collection.id)]}
            )
        return client.get("/api/v1/documents")

    def delete(client):
        for document in Document.objects.all():
            return client.delete(f"/api/v1/documents/{document.id}")
        return client.get("/api/v1/documents")

    threads = [threading.Thread(target=act, args=(step,)) for step in (upload, upload, change, delete)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses <= {200, 201, 204, 404, 409}
