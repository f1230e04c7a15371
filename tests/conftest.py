"""The cast of every test: an owner, a stranger, someone of the staff, and their clients."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.management.commands import flush
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import Client
from rest_framework.test import APIClient

from documents.models import Document
from documents.services import upload_document
from processing import pipeline
from ragsite.accounts.models import ApiToken, User
from ragsite.sharding import state
from tests.fakes import FakeEncoder

pytest_plugins = ["tests.services"]

PASSWORD = "correct horse battery"
OF_MIGRATIONS = {"django_content_type", "auth_permission"}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: an archive holds the time, and xdist wants the same ids of both workers."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> None:
    """The tables are emptied by DELETE: TRUNCATE makes new files for each partition and index, 50 times as slow. What
    the migrations have said of the models stays: to write it anew took nine tenths of what is left."""

    def sql_flush(self: DatabaseOperations, style: object, tables: list[str], **_options: bool) -> list[str]:
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables if table not in OF_MIGRATIONS]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign,assignment]
    flush.emit_post_migrate_signal = lambda *_args, **_options: None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Throttles, sessions and cached answers of one test are none of the next one's; the broker's keys stay."""
    cache.delete_pattern("*")


@pytest.fixture(autouse=True)
def _computed_anew(settings: Any) -> None:
    """Tests write rows as no service does, and count what is read: values made of rows are kept in tests/caching alone,
    and in the sites that tests run as processes of their own."""
    settings.CACHES_OFF = {"all"}


@pytest.fixture(autouse=True, scope="session")
def _known_whether_sharded() -> None:
    """Asked of the database once in a process: tests that count statements shall not depend on who comes first."""
    state._has_line = lambda _database: "CITUS_TEST_URL" in os.environ  # type: ignore[assignment]


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("owner", "owner@example.com", PASSWORD)


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("stranger", "stranger@example.com", PASSWORD)


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("staff", "staff@example.com", PASSWORD)


@pytest.fixture
def api() -> Callable[..., APIClient]:
    """``api(user)``: a client of the API with a token of this user; ``api()`` is anonymous."""

    def client(user: User | None = None, scopes: list[str] | None = None) -> APIClient:
        made = APIClient()
        if user is not None:
            _, secret = ApiToken.issue(owner=user, name="test", scopes=scopes)
            made.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return made

    return client


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """``signed_in(user)``: a signed-in client of the pages."""

    def client(user: User) -> Client:
        made = Client()
        made.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return made

    return client


@pytest.fixture
def fake_encoder(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    """A quick encoder in place of the real one, in this process."""
    fake = FakeEncoder()
    monkeypatch.setattr("ragsite.embedding._client", lambda: fake)
    return fake


@pytest.fixture
def upload(db: None) -> Callable[..., Document]:
    """``upload(owner, "text", "name.md")``: a document, stored and not yet processed."""

    def store(owner: User, content: str | bytes = "Some words.", name: str = "note.txt", **kwargs: Any) -> Document:
        data = content.encode() if isinstance(content, str) else content
        return upload_document(owner=owner, file=ContentFile(data, name), filename=name, **kwargs).document

    return store


@pytest.fixture
def processed(
    upload: Callable[..., Document], fake_encoder: FakeEncoder, sandbox_service: Path
) -> Callable[..., Document]:
    """``processed(owner, "text", "name.md")``: a document that went the whole way."""

    def store(*args: Any, **kwargs: Any) -> Document:
        document = upload(*args, **kwargs)
        while pipeline.process_next():
            pass
        document.refresh_from_db()
        return document

    return store
