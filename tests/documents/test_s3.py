"""The whole life of a document in an S3-compatible service: a real server with boto3's real client before it."""

import errno
import hashlib
import io
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage, storages
from django.test import override_settings
from fpdf import FPDF

from documents import sweeping
from documents.importing.running import run_next
from documents.models import Document
from documents.services import delete_documents
from documents.tus.models import PartialUpload
from ragsite.files import StorageUnavailable, storage_from_url
from tests.documents.test_importing import ROUTE, packed
from tests.documents.test_tus import TEXT, UPLOADS, patch
from tests.documents.test_tus import begin as begin  # a fixture

boto3 = pytest.importorskip("boto3", reason="no boto3: pip install -r requirements-s3.txt")
moto_server = pytest.importorskip("moto.server", reason="no moto: pip install -r requirements-dev.txt")
pytestmark = pytest.mark.django_db
LOCAL = {"BACKEND": "django.core.files.storage.FileSystemStorage"}


@pytest.fixture(scope="module")
def s3_server():
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def bucket(s3_server, monkeypatch, settings):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="library")
    url = f"s3://library/site?endpoint_url={s3_server}&region_name=us-east-1"
    with override_settings(STORAGES={**settings.STORAGES, "default": storage_from_url(url, LOCAL)}):
        yield client
    for entry in client.list_objects_v2(Bucket="library").get("Contents", []):
        client.delete_object(Bucket="library", Key=entry["Key"])


def keys(client):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="library").get("Contents", [])]


def test_a_document_lives_there_from_its_upload_to_its_end(owner, bucket, api, processed):
    paper = FPDF()
    paper.set_font("Helvetica", size=12)
    paper.add_page()
    paper.cell(text="The bridge of Arlen is 742 metres long.")
    content = bytes(paper.output())
    document = processed(owner, content, "../../bridge.pdf")
    assert (document.status, document.page_count) == ("processed", 1)
    assert keys(bucket) == [f"site/{document.file.name}"]
    client, url = api(owner), f"/api/v1/documents/{document.id}"
    assert b"".join(client.get(f"{url}/file").streaming_content) == content
    for _ in range(2):
        picture = client.get(f"{url}/pages/1")
        assert (picture.status_code, picture["Content-Type"]) == (200, "image/webp")
    assert len(keys(bucket)) == 2
    boxes = client.get(f"{url}/pages/1/boxes?start=4&end=10")
    assert boxes.json()["boxes"]
    delete_documents(owner_id=owner.pk, documents=[document.id])


@pytest.mark.django_db(transaction=True)
def test_deleting_leaves_nothing(owner, bucket, upload):
    documents = [upload(owner, f"Text {number}.").id for number in range(3)]
    assert len(keys(bucket)) == 3
    delete_documents(owner_id=owner.pk, documents=documents)
    assert keys(bucket) == []


def test_orphans_are_swept_and_others_are_not(owner, bucket, upload, monkeypatch):
    monkeypatch.setattr(sweeping, "GRACE", timedelta(seconds=-60))
    assert sweeping.sweep_files() >= 0  # with nothing there at all
    kept, orphan = upload(owner, "Kept."), upload(owner, "Orphan.")
    Document.objects.filter(id=orphan.id).delete()
    sweeping.sweep_files()
    assert keys(bucket) == [f"site/{kept.file.name}"]


def test_resumable_uploads_and_archives_end_there_too(owner, bucket, begin, api):
    client, url = begin(owner)
    path = PartialUpload.objects.get().path
    assert patch(client, url, 0, TEXT).status_code == 204
    document = Document.objects.get()
    with document.file.open() as stored:
        assert hashlib.sha256(stored.read()).digest() == hashlib.sha256(TEXT).digest()
    assert not path.exists()
    archive = io.BytesIO(packed({"a.txt": "Alpha.", "b.txt": "Beta."}))
    archive.name = "a.zip"
    assert client.post(ROUTE, {"file": archive}, format="multipart").status_code == 202
    assert len(keys(bucket)) == 2
    run_next()
    assert len(keys(bucket)) == 3
    assert UPLOADS in url


def test_a_part_of_a_file_is_fetched_and_no_more(owner, api, upload):
    document = upload(owner, b"0123456789" * 1000)
    answer = api(owner).get(f"/api/v1/documents/{document.id}/file", HTTP_RANGE="bytes=10-14")
    assert (answer.status_code, answer["Content-Range"]) == (206, "bytes 10-14/10000")
    assert b"".join(answer.streaming_content) == b"01234"


def test_a_file_that_is_gone_is_told(owner, bucket, api, upload):
    document = upload(owner)
    bucket.delete_object(Bucket="library", Key=f"site/{document.file.name}")
    answer = api(owner).get(f"/api/v1/documents/{document.id}/file")
    assert (answer.status_code, answer.json()["code"]) == (404, "file_missing")
    with pytest.raises(FileNotFoundError):
        default_storage.open(document.file.name)


def test_a_service_that_is_away_is_told_and_the_document_waits(owner, api, upload, sandbox_service, fake_encoder):
    from processing import pipeline

    document = upload(owner)
    away = storage_from_url("s3://library/site?endpoint_url=http://127.0.0.1:9&region_name=us-east-1", LOCAL)
    with override_settings(STORAGES={"default": away, "staticfiles": LOCAL}):
        with pytest.raises(StorageUnavailable) as told:
            storages["default"].exists("x")
        assert told.value.errno == errno.EIO
        answer = api(owner).get(f"/api/v1/documents/{document.id}/file")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert (
            api(owner).post("/api/v1/documents", {"file": io.BytesIO(b"New.")}, format="multipart").status_code == 503
        )
        pipeline.process_next()
    document.refresh_from_db()
    assert "cannot be reached" in document.waiting_for
    assert document.status == "extracting"


@pytest.mark.parametrize("url", ["/var/files", "s3://", "s3://key:secret@bucket", "s3://b?region=x", "gs://bucket"])
def test_what_is_no_storage_is_refused(url):
    with pytest.raises(ValueError, match="s3://bucket"):
        storage_from_url(url, LOCAL)
