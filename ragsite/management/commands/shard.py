"""`manage.py shard`: distribute the tables of a site over the nodes of a Citus cluster (docs/sharding.md)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from ragsite.sharding import catalog, plan
from ragsite.sharding.checking import faults


class Command(BaseCommand):
    """Can be run again at any time: what is done already is left out."""

    help = "Distribute every table that has an owner over the nodes of a Citus cluster."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print the statements and change nothing")
        parser.add_argument("--check", action="store_true", help="tell what is wrong or missing; ends with 1 if any is")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self._print()
        elif options["check"]:
            self._check()
        else:
            self._shard()

    def _print(self) -> None:
        if not catalog.has_citus():
            self.stdout.write("-- This server has no Citus; on one that has it these would be run:")
        missing, emptying = plan.statements(), plan.emptying()
        in_one = ["BEGIN", *plan.session_settings(), *missing, "COMMIT"] if missing else []
        for statement in (*in_one, *emptying):
            self.stdout.write(f"{statement};")
        if not missing and not emptying:
            self.stdout.write("-- Nothing to do: all tables are distributed.")

    def _shard(self) -> None:
        if not catalog.has_citus():
            raise CommandError("This server has no Citus: CREATE EXTENSION citus on every node first.")
        with transaction.atomic(), connection.cursor() as cursor:
            for setting in plan.session_settings():
                cursor.execute(setting)
            missing = plan.statements()
            self._run(cursor, missing)
        with connection.cursor() as cursor:
            emptying = plan.emptying()
            self._run(cursor, emptying)
        done = len(missing) + len(emptying)
        self.stdout.write(f"{done} statements." if done else "Nothing to do: all tables are distributed.")
        self._check()

    def _run(self, cursor: CursorWrapper, statements: list[str]) -> None:
        for statement in statements:
            self.stdout.write(statement.splitlines()[0])
            cursor.execute(statement)

    def _check(self) -> None:
        found = faults()
        for fault in found:
            self.stderr.write(fault)
        if found:
            raise CommandError(f"{len(found)} faults.")
        self.stdout.write("All tables are where they belong.")
