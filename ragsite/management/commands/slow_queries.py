"""The slowest and the most frequent statements that silk has recorded."""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ragsite.profiling.report import Group, Record, grouped, parsed_plan, plan_lines


class Command(BaseCommand):
    """``slow_queries [--by total|mean|count] [--top 10] [--hours 24] [--view NAME]``"""

    help = "What silk has recorded (RAGSITE_SILK=on): statements by view, with their plans and what may be wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", choices=("total", "mean", "count"), default="total")
        parser.add_argument("--top", type=int, default=10)
        parser.add_argument("--hours", type=float, default=24)
        parser.add_argument("--view", default="", help="only views and tasks whose name holds this")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.RAGSITE_SILK:
            raise CommandError("silk is off: start the site with RAGSITE_SILK=on, use it for a while, and come back.")
        groups = grouped(_records(options["hours"], options["view"]))
        keys = {"total": lambda group: group.total, "count": lambda group: len(group.times), "mean": _mean}
        groups.sort(key=keys[options["by"]], reverse=True)
        if not groups:
            self.stdout.write("Nothing was recorded. RAGSITE_SILK_PERCENT=100 records every request.")
        for group in groups[: options["top"]]:
            self._show(group)

    def _show(self, group: Group) -> None:
        count, longest, requests = len(group.times), max(group.times), len(group.by_request)
        self.stdout.write(
            f"{group.view}: {count} × {_mean(group):.1f} ms = {group.total:.0f} ms, longest {longest:.1f} ms, "
            f"in {requests} requests"
        )
        self.stdout.write(f"  {group.sql[:1000]}")
        self.stdout.write(f"  {group.place.partition(chr(10))[0]}")
        for line in plan_lines(group.plan) if group.plan else ():
            self.stdout.write(f"    {line}")
        for hint in group.hints():
            self.stdout.write(f"  → {hint}")
        self.stdout.write("")


def _mean(group: Group) -> float:
    return group.total / len(group.times)


def _records(hours: float, view: str) -> Iterator[Record]:
    from silk.models import SQLQuery

    rows = SQLQuery.objects.filter(start_time__gte=timezone.now() - timedelta(hours=hours), request__isnull=False)
    if view:
        rows = rows.filter(request__view_name__icontains=view)
    columns = ("request__view_name", "request__path", "request_id", "query", "time_taken", "traceback", "analysis")
    for name, path, request, sql, taken, place, plan in rows.values_list(*columns).iterator(2000):
        yield Record(name or path, request, sql, taken or 0, place, parsed_plan(plan))
