"""Writes that concern people."""

from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from ragsite.accounts.models import User
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
            user.is_active = False
            announce_deactivation(user=user)
    return len(shut_out)


def announce_deactivation(*, user: User) -> None:
    """Tell the other apps after the commit. A receiver that fails is logged and stops nobody."""
    transaction.on_commit(partial(user_deactivated.send_robust, sender=User, user=user))


def activate_users(*, users: QuerySet[User]) -> int:
    """Let people in again; returns how many there were."""
    return users.filter(is_active=False).update(is_active=True)
