"""Writes that concern people and their tokens."""

from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from ragsite.accounts.models import ApiToken, User
from ragsite.accounts.signals import user_deactivated


def deactivate_users(*, users: QuerySet[User]) -> int:
    """Shut people out at once; returns how many there were.

    Their sessions and tokens are refused from the commit on, because both read ``is_active`` with every request; they
    work again when the person is activated again.
    """
    with transaction.atomic():
        shut_out = list(users.filter(is_active=True).select_for_update())
        User.objects.filter(pk__in=[user.pk for user in shut_out]).update(is_active=False)
        for user in shut_out:
            announce_deactivation(user=user)
    return len(shut_out)


def announce_deactivation(*, user: User) -> None:
    """Tell the other apps after the commit. A receiver that fails is logged and stops nobody."""
    transaction.on_commit(partial(user_deactivated.send_robust, sender=User, user=user))


def activate_users(*, users: QuerySet[User]) -> int:
    """Let people in again; returns how many there were."""
    return users.filter(is_active=False).update(is_active=True)


def issue_token(
    *, owner: User, name: str, scopes: list[str], expires_at: datetime | None, parent: ApiToken | None
) -> tuple[ApiToken, str]:
    """A new token and its secret. One made with a token has no scope and no day that its parent lacks.

    Raises PermissionError for a scope that the parent lacks.
    """
    if parent is not None:
        if not set(scopes) <= set(parent.scopes):
            raise PermissionError("A token cannot make one with more scopes than it has.")
        expires_at = min(filter(None, [expires_at, parent.expires_at]), default=None)
    return ApiToken.issue(owner=owner, name=name, scopes=scopes, expires_at=expires_at)
