"""manage.py migrate, under load: Django's, with a limit to waiting for locks, and another try where it is met."""

import logging
import time
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections

LOCK_NOT_AVAILABLE = "55P03"
LONGEST_PAUSE = 10
logger = logging.getLogger(__name__)


class Command(migrate.Command):
    """A migration that waits for its lock makes every later query of the table wait behind it.

    So each waits for seconds only, gives way, and comes again. Every migration is a transaction or can be repeated:
    nothing is half done in between.
    """

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--lock-seconds", type=float, default=3.0, help="how long a lock is waited for (0: ever)")
        parser.add_argument("--tries", type=int, default=30, help="how often it comes again")

    def handle(self, *args: Any, lock_seconds: float = 3.0, tries: int = 30, **options: Any) -> None:
        connection: Any = connections[options["database"]]
        connection.lock_seconds = lock_seconds
        try:
            for number in range(1, tries + 1):
                if self._applied(*args, last=number == tries, **options):
                    return
                pause = min(number, LONGEST_PAUSE)
                logger.warning("a table is in use: migrating gives way and tries again in %s s", pause)
                time.sleep(pause)
        finally:
            connection.lock_seconds = 0.0

    def _applied(self, *args: Any, last: bool, **options: Any) -> bool:
        """False where a lock was not to be had in time."""
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if last or getattr(error.__cause__, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            return False
        return True
