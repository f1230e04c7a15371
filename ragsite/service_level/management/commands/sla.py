"""`manage.py sla`: whether the site keeps its level, from what it measures of itself."""

import json
import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ragsite.service_level.verdicts import Verdict, budget_told, told, verdicts_of_last

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def length(text: str) -> timedelta:
    """``90s``, ``10m``, ``1h``, ``7d``."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if not match or int(match[1]) == 0:
        raise ArgumentTypeError(f"{text!r} is no time; write 10m, 1h or 7d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


class Command(BaseCommand):
    """Ends with 1 when the level is missed. What was not measured is told as such and is no failure."""

    help = "Print each target with its present value and a verdict; exit status 1 when the level is missed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since", type=length, default=timedelta(hours=1), help="how far back: 10m, 1h (the default), 7d"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        found = verdicts_of_last(options["since"])
        if options["json"]:
            self.stdout.write(json.dumps([as_json(verdict) for verdict in found], indent=2))
        else:
            for verdict in found:
                self.stdout.write(line(verdict))
        if any(verdict.breaks_the_level for verdict in found):
            raise SystemExit(1)


def as_json(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        "target": target.name,
        "verdict": verdict.state,
        "value": verdict.value,
        "limit": target.limit,
        "statistic": target.statistic,
        "indicator": target.indicator,
        "aim": target.aim,
        "measured": verdict.measured.count,
        "errors": verdict.measured.errors,
        "budget_left": verdict.budget_left,
    }


def line(verdict: Verdict) -> str:
    """One target: ``met      Answers, 95 of 100     1.71 s of 3.00 s, 62% of the error budget left, 1204 measured``."""
    target = verdict.target
    state = verdict.state if not target.aim or verdict.state != "missed" else "not yet"
    parts = [f"{told(target, verdict.value)} of {told(target, target.limit)}"]
    if budget := budget_told(verdict):
        parts.append(budget)
    parts.append(f"{verdict.measured.count + verdict.measured.errors} measured")
    return f"{state:<8} {target.title:<52} {', '.join(parts)}"
