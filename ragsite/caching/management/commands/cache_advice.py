"""manage.py cache_advice: what the caches did, and how long and how much they should keep."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from ragsite.caching import counters
from ragsite.caching.describing import described, duration
from ragsite.caching.pages import lines

HEAD = ("keyspace", "reads", "found", "to read", "to compute", "saved", "values", "memory", "kept for", "advice")
FORM = "{:20}{:>9}{:>8}{:>10}{:>12}{:>10}{:>8}{:>9}{:>10}  {}"


class Command(BaseCommand):
    help = "Print what each cache did since its counters began, and propose how long to keep values and how much room."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--registry", action="store_true", help="Print the registry as docs/ has it.")
        parser.add_argument("--reset", action="store_true", help="Begin to count anew.")

    def handle(self, *, registry: bool, reset: bool, **options: Any) -> None:
        if registry:
            self.stdout.write(described())
            return
        self.stdout.write(FORM.format(*HEAD))
        for line in lines():
            self.stdout.write(_row(*line))
        if reset:
            counters.reset()


def _row(*line: Any) -> str:
    space, seen, memory, advice = line
    proposed = f"; keep for {advice.ttl}, room {advice.bytes / 1e6:.1f} MB" if advice.ttl else ""
    return FORM.format(
        space.name,
        seen.reads,
        f"{100 * seen.hit_rate:.1f} %",
        f"{1000 * seen.mean_hit_seconds:.2f} ms",
        f"{1000 * seen.mean_compute_seconds:.2f} ms",
        f"{seen.seconds_saved:.1f} s",
        memory.values,
        f"{memory.bytes / 1e6:.1f} MB",
        duration(space),
        advice.reason + proposed,
    )
