"""manage.py migrate, under load: Django's, with a limit to waiting for locks, and another try where it is met."""

import contextlib
import logging
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DatabaseError, OperationalError, connections

from ragsite.partitioning import splitting

NOT_NOW = {"55P03", "40P01"}
"""lock_not_available, deadlock_detected."""
LONGEST_PAUSE = 10
logger = logging.getLogger(__name__)


class Command(migrate.Command):
    """A migration that waits for its lock makes every later query of the table wait behind it.

    So each waits for seconds only, gives way, and comes again. Every migration is a transaction or can be repeated:
    nothing is half done in between.
    """

    _splits_kept_away = False

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--lock-seconds", type=float, default=3.0, help="how long a lock is waited for (0: ever)")
        parser.add_argument("--tries", type=int, default=30, help="how often it comes again")

    def handle(self, *args: Any, lock_seconds: float = 3.0, tries: int = 30, **options: Any) -> None:
        connection: Any = connections[options["database"]]
        connection.lock_seconds, self._splits_kept_away = lock_seconds, False
        try:
            for number in range(1, tries + 1):
                if self._applied(*args, last=number == tries, **options):
                    return
                pause = min(number, LONGEST_PAUSE)
                logger.warning("a table is in use: migrating gives way and tries again in %s s", pause)
                time.sleep(pause)
        finally:
            connection.lock_seconds = 0.0
            if self._splits_kept_away:
                with contextlib.suppress(DatabaseError):  # it goes with its connection too
                    splitting.let_begin()

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Also before the first migration: refuse where partitions are being split. With none to apply nobody asks."""
        if action in {"apply_start", "unapply_start"} and not self._splits_kept_away:
            self._splits_kept_away = splitting.keep_away()
            if not self._splits_kept_away:
                raise CommandError("`manage.py partitions` is splitting or undoing: migrate when it has ended")
            if names := [partition.name for _, partition in splitting.unfinished()]:
                told = f"the split of {', '.join(names)} is not finished: `manage.py partitions --repartition N`"
                raise CommandError(f"{told} goes on with it, `--undo` takes it back; then migrate")
        super().migration_progress_callback(action, migration, fake)

    def _applied(self, *args: Any, last: bool, **options: Any) -> bool:
        """False where a lock was not to be had in time."""
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if last or getattr(error.__cause__, "pgcode", None) not in NOT_NOW:
                raise
            return False
        return True
