"""The cast of every test: an owner, a stranger, someone of the staff, and their clients."""

from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from rest_framework.test import APIClient

from ragsite.accounts.models import ApiToken, User

pytest_plugins = ["tests.services"]

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Throttles, sessions and cached answers of one test are none of the next one's; the broker's keys stay."""
    cache.delete_pattern("*")
    yield


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
