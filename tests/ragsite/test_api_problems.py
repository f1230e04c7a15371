"""Every error of the API is a problem (RFC 9457)."""

import json
import logging

import pytest
from django.http import HttpRequest
from django.test import Client

from ragsite.api.problems import field_errors

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ragsite.api_urls")]


def check(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == status
    assert body["code"] == code
    assert {"type", "title", "detail"} <= body.keys()
    return body


@pytest.fixture
def client(api, owner):
    made = api(owner)
    made.raise_request_exception = False
    return made


def test_a_raised_problem_is_told_with_its_code_errors_and_headers(client):
    response = client.get("/api/v1/test/raise/problem")
    body = check(response, 409, "answer_in_progress")
    assert body["title"] == "Conflict"
    assert body["errors"] == {"x": ["y"]}
    assert response["Retry-After"] == "3"


def test_nested_errors_are_told_by_path(client):
    body = check(
        client.post("/api/v1/test/orders", {"name": "", "lines": [{"text": "a"}, {"text": "abcdef"}]}), 400, "invalid"
    )
    assert list(body["errors"]) == ["name", "lines.1.text"]


def test_an_error_of_no_field_is_the_detail(client):
    body = check(client.post("/api/v1/test/orders", {"name": "forbidden", "lines": []}), 400, "invalid")
    assert body["detail"] == "Not this one."
    assert body["errors"] == {"non_field_errors": ["Not this one."]}


def test_errors_of_any_shape_become_one_flat_map():
    detail = {"a": ["x", "y"], "b": {"c": [{"d": ["z"]}, {}]}, "e": "w"}
    assert field_errors(detail) == {"a": ["x", "y"], "b.c.0.d": ["z"], "e": ["w"]}


def test_a_missing_object_does_not_tell_its_model(client):
    assert "secret" not in check(client.get("/api/v1/test/raise/missing"), 404, "not_found")["detail"]


def test_django_permission_errors_are_problems(client):
    assert check(client.get("/api/v1/test/raise/forbidden"), 403, "permission_denied")["detail"] == "No."


@pytest.mark.parametrize("path", ["/api/v1/test/raise/fault", "/api/v1/test/plain-fault"])
def test_a_fault_tells_nothing_but_an_id_that_is_in_the_log(client, path, caplog):
    with caplog.at_level(logging.ERROR):
        body = check(client.get(path), 500, "server_error")
    assert "hunter2" not in str(body)
    fault = body["instance"].removeprefix("urn:uuid:")
    assert fault in caplog.text
    assert "hunter2" in caplog.text


def test_a_fault_of_a_page_is_a_page(client):
    response = client.get("/test/fault")
    assert response.status_code == 500
    assert response["Content-Type"].startswith("text/html")
    assert b"hunter2" not in response.content


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/", "/v1/nothing", "/api/v1/tokens/not-an-id", "/api/v1/tokens/%00"]
)
def test_paths_that_match_nothing_are_problems(client, path):
    check(client.get(path), 404, "not_found")


def test_a_page_that_is_not_there_is_a_page(client):
    assert client.get("/nothing")["Content-Type"].startswith("text/html")


def test_a_wrong_method_is_a_problem(client):
    response = client.put("/api/v1/test/orders", {})
    check(response, 405, "method_not_allowed")
    assert response["Allow"] == "POST, OPTIONS"


def test_an_unknown_media_type_is_a_problem(client):
    check(client.post("/api/v1/test/orders", "<a/>", content_type="text/xml"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"name": "\xff"}',
        b'{"name": NaN}',
        b'{"name": "\\u0000"}',
        b'{"name": "a\\u0000b", "lines": []}',
        b'{"lines": [{"text": "\\ud800"}]}',
        b'{"\\u0000": 1}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 10_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_json_that_cannot_be_read_or_stored_is_a_problem(client, body):
    response = client.generic("POST", "/api/v1/test/orders", body, content_type="application/json")
    check(response, 400, "parse_error")


def test_an_empty_body_lacks_its_fields(client):
    response = client.generic("POST", "/api/v1/test/orders", b"", content_type="application/json")
    assert list(check(response, 400, "invalid")["errors"]) == ["name", "lines"]


def test_an_unknown_charset_is_a_problem(client):
    response = client.generic("POST", "/api/v1/test/orders", b"{}", content_type="application/json; charset=zip")
    check(response, 400, "parse_error")


def test_text_that_only_looks_unstorable_is_taken(client):
    body = {"name": "\\u0000 and \\ud800 and \U0001f600", "lines": []}
    assert client.post("/api/v1/test/orders", body).json()["name"] == body["name"]


def test_a_body_that_is_too_large_is_a_problem(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    check(client.post("/api/v1/test/orders", {"name": "x" * 1000}), 413, "body_too_large")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name"),
        ("multipart/form-data; boundary=\xff", b"x"),
    ],
)
def test_bad_multipart_is_a_problem(client, content_type, body):
    response = client.generic("POST", "/api/v1/test/orders", body, content_type=content_type)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_too_many_form_fields_are_a_problem(client):
    parts = "".join(f'--b\r\nContent-Disposition: form-data; name="a{n}"\r\n\r\n1\r\n' for n in range(1001))
    response = client.generic(
        "POST", "/api/v1/test/orders", parts.encode() + b"--b--\r\n", content_type="multipart/form-data; boundary=b"
    )
    check(response, 400, "parse_error")


@pytest.mark.parametrize("query", ["x=%00", "x=a%00b", "x=%ff", "%c3=1"])
def test_a_query_that_is_no_text_is_refused(client, query):
    check(client.get(f"/api/v1/tokens?{query}"), 400, "bad_request")
    assert client.get(f"/test/ok?{query}").status_code == 400


def test_a_query_in_any_language_is_taken(client):
    assert client.get("/test/ok?x=%E6%97%A5&y=a%2Bb").status_code == 200


@pytest.mark.parametrize(
    "accept", ["text/event-stream", "image/png", "application/xml;q=0.5", "x", "text/html,*/*;q=0", ""]
)
def test_any_accept_header_gets_json(client, accept):
    response = client.get("/api/v1/me", headers={"accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    check(client.get("/api/v1/test/raise/problem", headers={"accept": accept}), 409, "answer_in_progress")


def test_a_format_parameter_is_no_way_to_a_404(client):
    assert client.get("/api/v1/me?format=xml").status_code == 200


def test_a_host_that_is_not_ours_is_a_problem(client):
    check(client.get("/api/v1/me", headers={"host": "evil.example"}), 400, "parse_error")


def test_a_csrf_failure_below_the_api_is_a_problem(owner):
    from ragsite.api.problems import csrf_failure

    request = HttpRequest()
    request.path_info = "/api/v1/x"
    assert json.loads(csrf_failure(request).content)["code"] == "csrf_failed"
    browser = Client(enforce_csrf_checks=True)
    response = browser.post("/accounts/login/", {})
    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")


def test_a_full_disk_is_told_as_one(client):
    check(client.get("/api/v1/test/raise/full"), 507, "disk_full")
