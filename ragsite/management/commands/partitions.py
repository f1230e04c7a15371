"""`manage.py partitions`: how the partitioned tables fare, and more partitions for them while the site goes on."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ragsite.partitioning import splitting, timed
from ragsite.partitioning.blueprint import Blueprint
from ragsite.partitioning.locking import Busy
from ragsite.partitioning.report import examined


class Command(BaseCommand):
    """Ends with 1 when something needs doing."""

    help = "Size and skew by partition, and what to do; --repartition N makes more of them while the site goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.add_argument("--repartition", type=int, metavar="N", help="split hash partitions until there are N")
        parser.add_argument("--upkeep", action="store_true", help="make and drop the partitions by time, as each hour")
        parser.add_argument("--table", default="", help="of this table alone")
        parser.add_argument("--dry-run", action="store_true", help="print the statements, change nothing")
        parser.add_argument("--undo", action="store_true", help="take back the splits that were not finished")
        parser.add_argument("--batch", type=int, default=splitting.BATCH, help="rows copied at once")
        parser.add_argument("--pause", type=float, default=0.0, help="seconds between two batches")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"] and (options["undo"] or options["upkeep"]):
            raise CommandError("--dry-run goes with --repartition alone")
        if options["upkeep"]:
            self.stdout.write("\n".join(timed.upkeep()) or "Nothing was to be made or dropped.")
        if options["repartition"] or options["undo"]:
            self._change(options)
            return
        report = examined()
        self.stdout.write(json.dumps(report.as_json(), indent=2) if options["json"] else "\n".join(report.lines()))
        if report.todo:
            raise SystemExit(1)

    def _change(self, options: dict[str, Any]) -> None:
        if not splitting.alone():
            raise CommandError("another `partitions --repartition` or `--undo`, or `migrate`, is running")
        try:
            if options["undo"]:
                self._undo(options["table"])
            else:
                self._repartition(options)
        except Busy as error:
            told = f"a lock could not be had in five minutes ({error}); nothing is lost, run it again"
            raise CommandError(told) from error
        except splitting.CannotSplit as error:
            raise CommandError(str(error)) from error
        finally:
            splitting.release()

    def _repartition(self, options: dict[str, Any]) -> None:
        plans = list(splitting.chosen(options["repartition"], options["table"]))
        if not plans:
            self.stdout.write(f"Every hash-partitioned table has {options['repartition']} partitions or more.")
        for plan in plans:
            if options["dry_run"]:
                self.stdout.write("\n".join(script(plan)))
            else:
                splitting.split(plan, self._tell, options["batch"], options["pause"])

    def _undo(self, only: str) -> None:
        for table, partition in list(splitting.unfinished()):
            if only in {"", table}:
                splitting.undo(table, partition)
                self._tell(f"{partition.name}: as before")

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def script(plan: Blueprint) -> list[str]:
    """All statements of a split, in order, for people to read."""
    lines = [f"-- {plan.source} → {', '.join(plan.children)}", "BEGIN;", *_ended(plan.creation()), "COMMIT;"]
    lines.append("-- by batches, each a transaction, until none is left:")
    lines += _ended([plan.copying().format(where=plan.after(), size=splitting.BATCH).strip()])
    for child in plan.children:
        keys = [statement for pair in plan.key_creation(child).values() for statement in pair]
        lines += _ended([*plan.index_creation(child).values(), *keys, f"VACUUM (ANALYZE) {child}"])
    lines += _ended([plan.comparison()])
    return [*lines, "BEGIN;", *_ended(plan.quiet() + plan.swap()), "COMMIT;", ""]


def _ended(statements: list[str]) -> list[str]:
    return [f"{statement};" for statement in statements]
