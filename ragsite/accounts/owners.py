"""Whose library a command works on."""

from ragsite.accounts.models import User


class UnknownOwner(LookupError):
    """There is no such user; the message says what to do."""


def command_owner(username: str | None) -> User:
    """The user of this name; without one the first administrator. Raises UnknownOwner.

    On a site that nobody uses yet that is `admin`, without a password: the first `manage.py up` gives one and shows it.
    """
    if username:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise UnknownOwner(f"There is no user {username!r}. Make one: manage.py create_token {username} --create …")
        return user
    first = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if first:
        return first
    if User.objects.exists():
        raise UnknownOwner("There is no administrator. Name the --owner of the library.")
    admin = User(username="admin", is_staff=True, is_superuser=True)
    admin.set_unusable_password()
    admin.save()
    return admin
