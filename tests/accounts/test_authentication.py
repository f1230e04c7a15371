"""The statement that finds a token finds what the querysets describe, and all of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from ragsite.accounts.authentication import usable_token
from ragsite.accounts.models import ApiToken, User

pytestmark = pytest.mark.django_db


def test_a_token_and_its_owner_are_read_whole(owner: User) -> None:
    token, secret = ApiToken.issue(owner=owner, name="all", expires_at=timezone.now() + timedelta(days=1))
    found = usable_token(secret)
    expected = ApiToken.objects.select_related("owner").get(pk=token.pk)
    assert found is not None
    for mine, row in ((found, expected), (found.owner, expected.owner)):
        for field in row._meta.concrete_fields:
            seen, wanted = getattr(mine, field.attname), getattr(row, field.attname)
            assert (bytes(seen) if isinstance(seen, memoryview) else seen) == (
                bytes(wanted) if isinstance(wanted, memoryview) else wanted
            )


@pytest.mark.parametrize(
    "change", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}, {"owner__is_active": False}]
)
def test_what_is_not_usable_is_not_found_from_that_moment_on(owner: User, change: dict[str, object]) -> None:
    token, secret = ApiToken.issue(owner=owner, name="ended")
    assert usable_token(secret)
    if "owner__is_active" in change:
        User.objects.filter(pk=owner.pk).update(is_active=False)
    else:
        ApiToken.objects.filter(pk=token.pk).update(**change)
    assert usable_token(secret) is None
    assert not ApiToken.objects.matching(secret).usable().exists()


def test_an_unknown_token_is_not_found(owner: User) -> None:
    ApiToken.issue(owner=owner, name="one")
    assert usable_token("rag_unknown") is None
    assert usable_token("") is None
