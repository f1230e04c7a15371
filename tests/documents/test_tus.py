"""Resumable uploads: tus 1.0.0, by its official client and by hand."""

import base64
import errno
import hashlib
import io
import os
import threading
from datetime import timedelta

import pytest
from django.utils import timezone
from tusclient.client import TusClient

from documents.models import Collection, Document
from documents.sweeping import sweep_files
from documents.tus import receiving
from documents.tus.models import PartialUpload
from ragsite.accounts.models import ApiToken

pytestmark = pytest.mark.django_db

TEXT = b"Water is wet. " * 50_000
LENGTH = len(TEXT)
UPLOADS = "/api/v1/uploads"
TUS = {"HTTP_TUS_RESUMABLE": "1.0.0"}


def encoded(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


@pytest.fixture
def begin(api):
    """``begin(owner, length)``: a client and the address of a new upload."""

    def post(user, length=LENGTH, **metadata):
        client = api(user)
        said = {"filename": "water.txt", **metadata}
        answer = client.post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH=str(length), HTTP_UPLOAD_METADATA=encoded(**said))
        assert answer.status_code == 201, answer.content
        return client, answer["Location"]

    return post


def patch(client, url, offset, data, **extra):
    return client.generic(
        "PATCH", url, data, "application/offset+octet-stream", **TUS, HTTP_UPLOAD_OFFSET=str(offset), **extra
    )


def head(client, url):
    return client.head(url, **TUS)


def left_of(owner):
    """What lies on the disk of uploads that the owner has begun."""
    return [upload.path.name for upload in PartialUpload.objects.filter(owner=owner) if upload.path.exists()]


@pytest.mark.django_db(transaction=True)
def test_the_official_client_uploads_in_parts_goes_on_and_has_its_checksums_checked(owner, live_server, settings):
    collection = Collection.objects.create(owner=owner, name="Water")
    client = TusClient(
        f"{live_server.url}{UPLOADS}", headers={"Authorization": f"Bearer {ApiToken.issue(owner=owner, name='t')[1]}"}
    )
    said = {"filename": "../../etc/Über water.txt", "collection": str(collection.id)}
    first = client.uploader(
        file_stream=io.BytesIO(TEXT), chunk_size=100_000, metadata=said, upload_checksum=True, retries=0
    )
    first.upload(stop_at=300_000)
    second = client.uploader(file_stream=io.BytesIO(TEXT), url=first.url, chunk_size=100_000)
    assert second.offset == 300_000
    second.upload()
    document = Document.objects.get(owner=owner)
    assert (document.filename, document.size) == ("Über water.txt", len(TEXT))
    assert bytes(document.sha256) == hashlib.sha256(TEXT).digest()
    assert [row.name for row in document.collections.all()] == ["Water"]
    with document.file.open() as stored:
        assert stored.read() == TEXT
    assert left_of(owner) == []


def test_the_server_says_what_it_can(owner, api, settings):
    answer = api(owner).options(UPLOADS)
    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    assert set(answer["Tus-Extension"].split(",")) >= {"creation", "termination", "expiration", "checksum"}
    assert answer["Tus-Max-Size"] == str(settings.RAGSITE_MAX_UPLOAD_MB << 20)


def test_what_was_received_counts_and_the_last_byte_makes_the_document(owner, begin):
    client, url = begin(owner)
    answer = patch(client, url, 0, TEXT[:1000])
    assert (answer.status_code, answer["Upload-Offset"]) == (204, "1000")
    state = head(client, url)
    assert (state["Upload-Offset"], state["Upload-Length"]) == ("1000", str(len(TEXT)))
    assert state["Cache-Control"] == "no-store"
    assert "GMT" in state["Upload-Expires"]
    done = patch(client, url, 1000, TEXT[1000:])
    document = Document.objects.get(owner=owner)
    assert done["Upload-Document"] == str(document.id)
    assert client.get(url).json()["document"] == str(document.id)
    again = patch(client, url, len(TEXT), b"")
    assert (again.status_code, again["Upload-Document"]) == (204, str(document.id))
    assert Document.objects.count() == 1


def test_the_same_content_again_is_the_document_that_is_there_and_leaves_nothing(owner, begin, upload):
    known = upload(owner, TEXT, "known.txt")
    client, url = begin(owner)
    assert patch(client, url, 0, TEXT)["Upload-Document"] == str(known.id)
    assert left_of(owner) == []


def test_an_upload_can_begin_with_its_bytes(owner, api):
    answer = api(owner).generic(
        "POST", UPLOADS, TEXT, "application/offset+octet-stream", **TUS, HTTP_UPLOAD_LENGTH=str(len(TEXT))
    )
    assert (answer.status_code, answer["Upload-Offset"]) == (201, str(len(TEXT)))
    assert answer["Upload-Document"] == str(Document.objects.get().id)


def test_of_two_at_one_offset_the_second_is_told_so(owner, begin):
    client, url = begin(owner)
    assert patch(client, url, 0, TEXT[:500]).status_code == 204
    answer = patch(client, url, 0, TEXT[:500])
    assert (answer.status_code, answer.json()["code"]) == (409, "offset_mismatch")
    assert head(client, url)["Upload-Offset"] == "500"


def test_two_who_write_at_once_never_mix_and_one_that_hangs_keeps_nobody_out(owner, begin):
    begin(owner, 4)
    upload = PartialUpload.objects.get()

    def stalled():
        yield b"a"
        assert receiving.append(upload, 1, [b"b", b"c"]) == 3  # meanwhile the other one goes on
        yield b"x"

    with pytest.raises(receiving.OffsetMoved):
        receiving.append(upload, 0, stalled())
    assert upload.path.read_bytes() == b"abc"


def test_many_writers_at_one_offset_leave_the_bytes_of_one(owner, begin):
    begin(owner, 1 << 20)
    upload = PartialUpload.objects.get()
    barrier, ends = threading.Barrier(8), []

    def write(mark):
        with upload.path.open("r+b", buffering=0) as file:
            barrier.wait()
            try:
                ends.append(receiving._write(file, 0, mark * 1000))
            except receiving.OffsetMoved:
                ends.append(None)

    threads = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, ends)) == ["1000"] + ["None"] * 7
    assert len(set(upload.path.read_bytes())) == 1


@pytest.mark.parametrize("method", ["head", "get", "patch", "delete"])
def test_another_users_upload_is_not_there(owner, stranger, begin, api, method):
    _, url = begin(owner)
    other = api(stranger)
    answer = patch(other, url, 0, TEXT) if method == "patch" else getattr(other, method)(url, **TUS)
    assert answer.status_code == 404
    assert PartialUpload.objects.get().offset == 0


def test_another_users_collection_is_not_there(owner, stranger, api):
    theirs = Collection.objects.create(owner=stranger, name="Theirs")
    said = encoded(filename="a.txt", collection=str(theirs.id))
    answer = api(owner).post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH="5", HTTP_UPLOAD_METADATA=said)
    assert answer.status_code == 404
    assert PartialUpload.objects.count() == 0


def test_one_who_may_only_read_and_one_who_did_not_sign_in_begin_nothing(owner, api):
    assert api(owner, ["read"]).post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH="5").status_code == 403
    assert api().post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH="5").status_code == 401


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 412),
        ({"HTTP_TUS_RESUMABLE": "0.2.0", "HTTP_UPLOAD_LENGTH": "5"}, 412),
        ({**TUS}, 400),
        ({**TUS, "HTTP_UPLOAD_LENGTH": "-5"}, 400),
        ({**TUS, "HTTP_UPLOAD_LENGTH": "9" * 30}, 400),
        ({**TUS, "HTTP_UPLOAD_LENGTH": "0"}, 422),
        ({**TUS, "HTTP_UPLOAD_LENGTH": "5", "HTTP_UPLOAD_METADATA": "filename !!"}, 400),
        ({**TUS, "HTTP_UPLOAD_LENGTH": "5", "HTTP_UPLOAD_METADATA": encoded(collection="x")}, 400),
    ],
)
def test_headers_that_make_no_sense_are_refused(owner, api, given, status):
    answer = api(owner).post(UPLOADS, **given)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert PartialUpload.objects.count() == 0


def test_a_file_beyond_the_limit_is_refused_before_its_first_byte(owner, api, settings):
    settings.RAGSITE_MAX_UPLOAD_MB = 1
    answer = api(owner).post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH=str((1 << 20) + 1))
    assert (answer.status_code, answer.json()["detail"]) == (413, "The file is larger than 1 MB.")


def test_bytes_beyond_the_announced_length_are_refused(owner, begin):
    client, url = begin(owner, 10)
    assert patch(client, url, 0, b"x" * 11).status_code == 413
    assert head(client, url)["Upload-Offset"] == "0"


def test_a_body_of_another_type_is_refused(owner, begin):
    client, url = begin(owner, 10)
    answer = client.generic("PATCH", url, b"x" * 10, "text/plain", **TUS, HTTP_UPLOAD_OFFSET="0")
    assert answer.status_code == 415


def test_damaged_bytes_are_not_kept(owner, begin):
    client, url = begin(owner, 20)
    right = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    answer = patch(client, url, 0, b"0123456780", HTTP_UPLOAD_CHECKSUM=f"sha256 {right}")
    assert (answer.status_code, answer.json()["code"]) == (460, "checksum_mismatch")
    assert head(client, url)["Upload-Offset"] == "0"
    assert patch(client, url, 0, b"0123456789", HTTP_UPLOAD_CHECKSUM=f"sha256 {right}").status_code == 204
    assert patch(client, url, 10, b"0123456789", HTTP_UPLOAD_CHECKSUM="crc32 AAAA").status_code == 400


def test_what_is_no_document_is_refused_at_its_end_and_nothing_stays(owner, begin):
    client, url = begin(owner, 100)
    path = PartialUpload.objects.get().path
    answer = patch(client, url, 0, b"\x7fELF" + bytes(96))
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported")
    assert not path.exists()
    assert head(client, url).status_code == 404
    assert (PartialUpload.objects.count(), Document.objects.count()) == (0, 0)


def test_giving_up_leaves_nothing(owner, begin):
    client, url = begin(owner)
    patch(client, url, 0, TEXT[:1000])
    path = PartialUpload.objects.get().path
    assert client.delete(url, **TUS).status_code == 204
    assert not path.exists()
    assert head(client, url).status_code == 404


def test_clients_that_can_only_post_say_what_they_mean(owner, begin):
    client, url = begin(owner, 4)
    meant = {"HTTP_X_HTTP_METHOD_OVERRIDE": "PATCH", "HTTP_UPLOAD_OFFSET": "0"}
    answer = client.generic("POST", url, b"text", "application/offset+octet-stream", **TUS, **meant)
    assert answer.status_code == 204
    assert client.post(url, **TUS).status_code == 405


def test_nobody_goes_on_with_an_expired_upload_and_the_sweep_removes_it(owner, begin):
    client, url = begin(owner)
    patch(client, url, 0, TEXT[:1000])
    upload = PartialUpload.objects.get()
    PartialUpload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert head(client, url).status_code == 410
    assert patch(client, url, 1000, TEXT[1000:]).status_code == 410
    assert sweep_files() == 1
    assert not upload.path.exists()
    assert not PartialUpload.objects.exists()


def test_a_row_without_bytes_is_no_upload(owner, begin):
    client, url = begin(owner)
    PartialUpload.objects.get().path.unlink()
    assert head(client, url).status_code == 404
    assert patch(client, url, 0, TEXT).status_code == 404


def test_begun_and_never_finished_are_counted(owner, stranger, begin, api, monkeypatch):
    monkeypatch.setattr(receiving, "MOST_OPEN", 2)
    for _ in range(2):
        begin(owner)
    answer = api(owner).post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH="5")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_uploads")
    begin(stranger)


def test_on_a_full_disk_what_fitted_counts_and_the_rest_can_follow(owner, begin, monkeypatch):
    client, url = begin(owner)
    write, room = os.pwrite, [70_000]

    def until_full(descriptor, data, offset):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: room[0]], offset)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", until_full)
    answer = patch(client, url, 0, TEXT)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert head(client, url)["Upload-Offset"] == "70000"
    monkeypatch.undo()
    assert patch(client, url, 70_000, TEXT[70_000:]).status_code == 204
    assert bytes(Document.objects.get().sha256) == hashlib.sha256(TEXT).digest()


def test_a_disk_that_is_full_at_the_end_loses_nothing_and_an_empty_part_finishes(owner, begin, monkeypatch):
    client, url = begin(owner)

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(receiving, "upload_document", full)
    assert patch(client, url, 0, TEXT).status_code == 507
    assert head(client, url)["Upload-Offset"] == str(len(TEXT))
    monkeypatch.undo()
    assert "Upload-Document" in patch(client, url, len(TEXT), b"")
    assert Document.objects.count() == 1


def test_a_disk_that_is_full_at_the_beginning_leaves_no_row(owner, api, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(receiving.os, "open", full)
    assert api(owner).post(UPLOADS, **TUS, HTTP_UPLOAD_LENGTH="5").status_code == 507
    monkeypatch.undo()
    assert PartialUpload.objects.count() == 0


def test_people_who_signed_in_upload_with_their_session_and_its_csrf_token(owner, signed_in):
    browser = signed_in(owner)
    browser.handler.enforce_csrf_checks = True
    assert browser.generic("POST", UPLOADS, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"}).status_code == 403
    browser.get("/library/")
    token = {"Tus-Resumable": "1.0.0", "X-CSRFToken": browser.cookies["csrftoken"].value}
    begun = browser.generic("POST", UPLOADS, headers={**token, "Upload-Length": "5"})
    assert begun.status_code == 201
    answer = browser.generic(
        "PATCH", begun["Location"], b"words", "application/offset+octet-stream", headers={**token, "Upload-Offset": "0"}
    )
    assert answer.status_code == 204
