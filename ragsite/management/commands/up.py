"""`manage.py up`: run the whole site, or some of its processes."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ragsite.embedded import CannotStart
from ragsite.supervisor import ROLES, up


class Command(BaseCommand):
    """manage.py calls the supervisor itself, without Django; this is for `help` and `call_command`."""

    help = "Run the whole site: database, cache, encoder, sandbox, workers and web. Ctrl-C stops everything."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "roles",
            nargs="*",
            choices=[*ROLES, []],
            metavar="ROLE",
            help=f"only these, beside servers of your own: {', '.join(ROLES)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sys.exit(up(options["roles"]))
        except CannotStart as error:
            raise CommandError(str(error)) from error
