"""Static files while two releases are at work."""

from pathlib import Path

import pytest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from ragsite.staticfiles import ModuleManifestStorage, StaticFilesOfAnyRelease


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=404)


@pytest.fixture
def served(tmp_path: Path, settings: object, rf: RequestFactory) -> object:
    (tmp_path / "site.css").write_text("now")
    (tmp_path / "site.0123456789ab.css").write_text("now")
    settings.STATIC_ROOT = tmp_path  # type: ignore[attr-defined]
    middleware = StaticFilesOfAnyRelease(nothing)

    def get(path: str) -> HttpResponseBase:
        return middleware(rf.get(path))

    return get


def test_a_file_of_another_release_is_that_of_this_one_and_not_kept(served: object) -> None:
    response = served("/static/site.ba9876543210.css")  # type: ignore[operator]
    assert (response.status_code, b"".join(response)) == (200, b"now")
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/static/other.ba9876543210.css", "/static/none.css", "/elsewhere.ba9876543210.css"])
def test_what_no_release_has_is_not_there(served: object, path: str) -> None:
    assert served(path).status_code == 404  # type: ignore[operator]


def test_a_file_of_this_release_is_served_as_ever(served: object) -> None:
    response = served("/static/site.0123456789ab.css")  # type: ignore[operator]
    assert b"".join(response) == b"now"
    assert "no-store" not in response["Cache-Control"]


def test_clearing_for_a_new_release_leaves_the_hashed_files_of_the_last_one(tmp_path: Path) -> None:
    for name in ("a.css", "a.0123456789ab.css", "a.0123456789ab.css.gz", "a.css.gz"):
        (tmp_path / name).write_text("")
    storage = ModuleManifestStorage(location=tmp_path)
    assert sorted(storage.listdir("")[1]) == ["a.css", "a.css.gz"]
