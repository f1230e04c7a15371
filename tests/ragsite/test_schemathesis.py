"""Schemathesis calls every operation with what the schema allows and forbids: no server error, no surprise."""

import time
from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from chat.answers.board import board
from documents.models import Collection, Document
from ragsite.accounts.models import ApiToken, User
from ragsite.wsgi import application
from tests.fakes import FakeEncoder

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
EXAMPLES = 3
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # resumable uploads


schema = schemathesis.openapi.from_wsgi("/api/schema/", application)


@pytest.fixture
def headers(transactional_db: None, fake_encoder: FakeEncoder) -> Iterator[dict[str, str]]:
    owner = User.objects.create_user("owner", password="correct horse battery")
    Collection.objects.create(owner=owner, name="Water")
    Document.objects.create(owner=owner, filename="a.txt", content_type="text/plain", size=1, sha256=b"x", file="a")
    yield {"Authorization": f"Bearer {ApiToken.issue(owner=owner, name='test')[1]}"}
    deadline = time.monotonic() + 20
    while len(board()) and time.monotonic() < deadline:  # answers are written by threads of their own
        time.sleep(0.02)


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_operation_surprises(case: schemathesis.Case, headers: dict[str, str]) -> None:
    case.call_and_validate(headers=headers, checks=CHECKS)
