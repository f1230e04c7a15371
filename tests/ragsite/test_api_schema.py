"""The OpenAPI schema and the page to try it."""

import re
from io import StringIO

import pytest
from django.core.management import call_command

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema():
    import json

    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format=openapi-json", stdout=out)
    return json.loads(out.getvalue())


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid_and_free_of_warnings(schema):
    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/tokens" in schema["paths"]


def test_every_operation_is_authenticated_by_token_or_session(schema):
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, _, operation in operations(schema):
        assert {"token": []} in operation["security"], path


def test_every_error_is_a_problem(schema):
    for path, method, operation in operations(schema):
        errors = {code: answer for code, answer in operation["responses"].items() if code[0] in "45"}
        assert {"401", "403", "429"} <= errors.keys()
        assert "{" not in path or "404" in errors
        assert method not in {"post", "patch", "put"} or "400" in errors
        for answer in errors.values():
            kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
            assert list(answer["content"]) == [kind], path


def test_lists_have_their_parameters(schema):
    names = {parameter["name"] for parameter in schema["paths"]["/api/v1/tokens"]["get"]["parameters"]}
    assert names == {"cursor", "page_size", "ordering"}


def test_operation_ids_are_unique(schema):
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(ids) == len(set(ids))


def test_anyone_may_read_the_schema(client):
    response = client.get("/api/schema/?format=json")
    assert response.status_code == 200
    assert response.json()["info"]["title"] == "ragsite"


def test_the_page_to_try_it_has_no_inline_script_and_all_from_here(client):
    response = client.get("/api/docs/")
    html = response.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert all(link.startswith("/") for link in re.findall(r'(?:src|href)="([^"]+)"', html))
    policy = response["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    script = client.get(re.search(r'src="(/api/docs/[^"]+)"', html).group(1).replace("&amp;", "&"))
    assert script["Content-Type"].startswith("application/javascript")


def test_posts_that_take_an_idempotency_key_say_so():
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator(urlconf="tests.ragsite.api_urls").get_schema(public=True)
    operation = schema["paths"]["/api/v1/test/count"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key"]
    assert operation["description"] == "Make one."
