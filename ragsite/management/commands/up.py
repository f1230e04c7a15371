"""`manage.py up`: run the whole site."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ragsite.embedded import CannotStart
from ragsite.supervisor import up


class Command(BaseCommand):
    """manage.py calls the supervisor itself, without Django; this is for `help` and `call_command`."""

    help = "Run the whole site: database, cache, encoder, sandbox, workers and web. Ctrl-C stops everything."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sys.exit(up())
        except CannotStart as error:
            raise CommandError(str(error)) from error
