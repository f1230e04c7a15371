"""What people and programs are told while the database is away or the disk is full."""

import errno

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import InterfaceError, OperationalError
from psycopg2.errors import DiskFull


@pytest.fixture(params=[OperationalError("server closed the connection"), InterfaceError("connection already closed")])
def database_away(request, monkeypatch):
    def fail(*args, **kwargs):
        raise request.param

    return lambda place: monkeypatch.setattr(place, fail)


def test_the_api_answers_503_and_says_when_to_try_again(owner, api, database_away):
    client = api(owner)
    database_away("documents.querysets.DocumentQuerySet.for_user")
    response = client.get("/api/v1/documents")
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response["Retry-After"]


def test_a_page_answers_503_and_says_that_nothing_is_lost(owner, signed_in, database_away):
    client = signed_in(owner)
    client.raise_request_exception = False
    database_away("documents.querysets.DocumentQuerySet.for_user")
    response = client.get("/library/")
    assert response.status_code == 503
    assert b"restarting" in response.content
    assert b"server closed" not in response.content


def test_a_full_disk_while_the_upload_comes_in_is_told(owner, api, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("django.core.files.uploadhandler.TemporaryFileUploadHandler.new_file", full)
    response = api(owner).post("/api/v1/documents", {"file": SimpleUploadedFile("a.txt", b"x")}, format="multipart")
    assert (response.status_code, response.json()["code"]) == (507, "disk_full")


def test_a_disk_that_fills_up_while_a_file_arrives_leaves_nothing_of_it(owner, api, monkeypatch, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    arrived = []

    def full(self, raw_data, start):
        arrived.extend(tmp_path.iterdir())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("django.core.files.uploadhandler.TemporaryFileUploadHandler.receive_data_chunk", full)
    response = api(owner).post("/api/v1/documents", {"file": SimpleUploadedFile("a.txt", b"x")}, format="multipart")
    assert (response.status_code, response.json()["code"]) == (507, "disk_full")
    assert arrived
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_of_the_database_is_told_as_one(owner, api, monkeypatch):
    def full(*args, **kwargs):
        raise OperationalError("could not extend file") from DiskFull()

    monkeypatch.setattr("documents.querysets.DocumentQuerySet.for_user", full)
    response = api(owner).get("/api/v1/documents")
    assert (response.status_code, response.json()["code"]) == (507, "disk_full")
