"""How much of a body is taken, from whom, and that nothing of the rest stays on the disk."""

from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ragsite.api import uploads

pytestmark = pytest.mark.django_db

LARGE = b"x" * (3 << 20)
API, PAGE = "/api/v1/documents", "/library/upload/"


@pytest.fixture(autouse=True)
def temporary(settings, tmp_path):
    """The folder of uploads on their way in."""
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


@pytest.fixture
def stored(monkeypatch):
    """The names of files that were written to the disk, if only for a moment."""
    names = []
    original = uploads.BoundedUploadHandler.new_file

    def new_file(self, *args, **kwargs):
        original(self, *args, **kwargs)
        names.append(self.file_name)

    monkeypatch.setattr(uploads.BoundedUploadHandler, "new_file", new_file)
    return names


def large_file():
    return SimpleUploadedFile("large.txt", LARGE)


def test_files_are_taken_where_documents_are_uploaded():
    routes = ("api-documents", "api-import", "api-uploads", "library-upload")
    assert {reverse(route) for route in routes} == uploads.UPLOAD_PATHS
    assert reverse("api-upload", args=[UUID(int=0)]) == f"{uploads.RESUMABLE_PREFIX}{UUID(int=0)}"


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/", "/admin/login/", "/nowhere/", "/"])
def test_nobody_stores_a_large_body_elsewhere(path, stored):
    response = Client(enforce_csrf_checks=True).post(path, {"file": large_file()})
    assert response.status_code == 413
    assert "Nothing of it was stored" in response.content.decode()
    assert stored == []


def test_an_endpoint_without_files_answers_with_a_problem(owner, api, stored):
    response = api(owner).post("/api/v1/tokens", {"name": "x", "file": large_file()}, format="multipart")
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert stored == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nope"}])
def test_strangers_to_the_site_store_nothing(headers, stored):
    browser = Client(enforce_csrf_checks=True, headers=headers)
    page = browser.post(PAGE, {"file": large_file()})
    assert page.status_code == 302
    assert page["Location"].startswith("/accounts/login/")
    answer = browser.post(API, {"file": large_file()})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert stored == []


def test_those_who_signed_in_upload_large_files(owner, api, signed_in):
    assert api(owner).post(API, {"file": large_file()}, format="multipart").status_code == 201
    assert signed_in(owner).post(PAGE, {"file": large_file()}).status_code == 302


@pytest.mark.parametrize("megabytes", [1, 5])
def test_files_beyond_the_limit_are_refused_and_nothing_stays(owner, api, signed_in, settings, temporary, megabytes):
    settings.RAGSITE_MAX_UPLOAD_MB = 1
    content = b"x" * ((megabytes << 20) + 1)
    answer = api(owner).post(API, {"file": SimpleUploadedFile("a.txt", content)}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    page = signed_in(owner).post(PAGE, {"file": SimpleUploadedFile("a.txt", content)})
    assert page.status_code == 413
    assert "larger than 1 MB" in page.content.decode()
    assert not list(temporary.iterdir())


def test_files_count_together(owner, signed_in, settings, temporary, stored):
    settings.RAGSITE_MAX_UPLOAD_MB = 1
    files = [SimpleUploadedFile(f"{number}.txt", b"x" * (600 << 10)) for number in range(3)]
    assert signed_in(owner).post(PAGE, {"file": files}).status_code == 413
    assert stored == ["0.txt", "1.txt"]
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("length", ["", "x", "-1"])
def test_a_length_that_is_none_reads_nothing(client, length):
    assert client.generic("POST", "/accounts/login/", b"", CONTENT_LENGTH=length).status_code in {200, 400}
