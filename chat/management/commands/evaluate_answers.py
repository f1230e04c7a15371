"""manage.py evaluate_answers DIR: what the quotes hold and what is refused; --follow-ups: what rewriting wins."""

import argparse
import collections
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from chat.evaluation import Answers, answers, asked_of, follow_ups
from documents.evaluation import SetIncomplete
from ragsite.accounts.owners import UnknownOwner, command_owner
from ragsite.layout import PROJECT_DIR

FOLLOW_UPS = PROJECT_DIR / "tests" / "quality" / "follow_ups.jsonl"


class Command(BaseCommand):
    help = "Answer a set of questions and print how many answers hold the right span, and how many are refused."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="Holds questions.jsonl and docs/ (or sets, with --follow-ups).")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--limit", type=int, help="Ask a sample of so many questions, always the same.")
        parser.add_argument("--follow-ups", action="store_true", help="Two-step questions out of squad and sec10q.")

    def handle(self, *, folder: Path, owner: str | None, limit: int | None, **options: Any) -> None:
        try:
            user = command_owner(owner)
            if options["follow_ups"]:
                self._follow_ups(folder, user.pk)
            else:
                self._answers(folder, user.pk, limit)
        except (SetIncomplete, UnknownOwner) as error:
            raise CommandError(str(error)) from error

    def _answers(self, folder: Path, owner_id: int, limit: int | None) -> None:
        total = len(asked_of(folder, owner_id, limit))
        steps = tqdm(answers(folder, owner_id, limit), total=total, unit="question")
        self._report(folder.name, collections.deque(steps, maxlen=1).pop())

    def _report(self, name: str, found: Answers) -> None:
        self.stdout.write(f"{name:12}{'questions':>11}{'refused':>9}{'holds the answer':>18}")
        for kind in ("answerable", "tricky", "other"):
            if kind in found.by_kind:
                of_kind = found.by_kind[kind]
                held = f"{of_kind.share(of_kind.held):18.3f}" if kind == "answerable" else ""
                self.stdout.write(f"{kind:12}{of_kind.asked:11}{of_kind.share(of_kind.refused):9.3f}{held}")
        self.stdout.write(f"{'seconds to':14}{'p50':>9}{'p95':>9}")
        for part in found.seconds:
            self.stdout.write(f"{part:14}{found.percentile(part, 50):9.3f}{found.percentile(part, 95):9.3f}")

    def _follow_ups(self, data: Path, owner_id: int) -> None:
        self.stdout.write(f"{'follow-ups':12}{'':16}{'R@1':>8}{'R@5':>8}")
        for name, ways in follow_ups(FOLLOW_UPS, data, owner_id).items():
            for way, (first, among) in ways.items():
                self.stdout.write(f"{name:12}{way:16}{first:8.3f}{among:8.3f}")
