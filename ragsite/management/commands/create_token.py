"""Make an API token from a terminal."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ragsite.accounts.models import ApiToken, User


class Command(BaseCommand):
    """``create_token USERNAME [--create] --name NAME [--scopes read,write] [--days N]``: prints the token alone."""

    help = "Make an API token and print it (and nothing else) on stdout. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--create", action="store_true", help="make the user, without a password, if there is none")
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument("--scopes", type=scopes, default=list(ApiToken.SCOPES), help="read,write (default: both)")
        parser.add_argument("--days", type=days, help="how long it works (default: until revoked)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < len(options["name"]) <= 100:
            raise CommandError("--name must have 1 to 100 characters.")
        owner = self._user(options["username"], options["create"])
        expires_at = timezone.now() + timedelta(days=options["days"]) if options["days"] else None
        _, secret = ApiToken.issue(owner=owner, name=options["name"], scopes=options["scopes"], expires_at=expires_at)
        self.stdout.write(secret)

    def _user(self, username: str, create: bool) -> User:
        user = User.objects.filter(username=username).first()
        if user is None and create:
            user = _new_user(username)
            self.stderr.write(f"Made the user {username}, who has no password yet.")
        if user is None:
            raise CommandError(f"There is no user {username!r}; --create makes one.")
        if not user.is_active:
            raise CommandError(f"The user {username!r} is deactivated.")
        return user


def _new_user(username: str) -> User:
    user = User(username=username)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    user.save()
    return user


def scopes(text: str) -> list[str]:
    """``read,write`` as a list."""
    wanted = [scope.strip() for scope in text.split(",")]
    if not set(wanted) <= set(ApiToken.SCOPES):
        raise ArgumentTypeError(f"scopes are {', '.join(ApiToken.SCOPES)}, separated by commas")
    return sorted(set(wanted))


def days(text: str) -> int:
    """A number of days from 1 to 36500."""
    if not text.isdecimal() or not 0 < int(text) <= 36_500:
        raise ArgumentTypeError("a whole number of days, from 1 to 36500")
    return int(text)
