"""manage.py evaluate_answers DIR: what answers hold and what is refused; --follow-ups: what rewriting wins."""

import argparse
import collections
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from chat.evaluation import Answers, answers, asked_of, follow_ups, percentile
from chat.reference_answers import compared, mean, questions_of
from documents.evaluation import SetIncomplete
from ragsite.accounts.owners import UnknownOwner, command_owner
from ragsite.layout import PROJECT_DIR

QUALITY = PROJECT_DIR / "tests" / "quality"
FOLLOW_UPS = {"in view": QUALITY / "follow_ups.jsonl", "held out": QUALITY / "follow_ups_held_out.jsonl"}
"""The rules of rewriting were written with the first ones in view."""
TRANSLATED = QUALITY / "translated.jsonl"
"""Questions of the sets in a language that their documents are not in."""
KINDS = ("answerable", "tricky", "other")


class Command(BaseCommand):
    help = "Answer a set of questions and print how many answers hold the right span, and how many are refused."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="Holds questions.jsonl and docs/ (or sets, with --follow-ups).")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--limit", type=int, help="Ask a sample of so many questions, always the same.")
        parser.add_argument("--translated", action="store_true", help="Only those there are in another language.")
        parser.add_argument("--follow-ups", action="store_true", help="Two-step questions out of squad and sec10q.")

    def handle(self, *, folder: Path, owner: str | None, limit: int | None, **options: Any) -> None:
        try:
            user = command_owner(owner)
            if options["follow_ups"]:
                self._follow_ups(folder, user.pk)
            elif questions_of(folder, 1):
                self._against_references(folder, user.pk, limit)
            else:
                self._answers(folder, user.pk, limit, TRANSLATED if options["translated"] else None)
        except (SetIncomplete, UnknownOwner) as error:
            raise CommandError(str(error)) from error

    def _answers(self, folder: Path, owner_id: int, limit: int | None, wordings: Path | None) -> None:
        total = len(asked_of(folder, owner_id, limit, wordings))
        steps = tqdm(answers(folder, owner_id, limit, wordings), total=total, unit="question")
        name = f"{folder.name}{', translated' if wordings else ''}"
        self._report(name, collections.deque(steps, maxlen=1).pop())

    def _against_references(self, folder: Path, owner_id: int, limit: int | None) -> None:
        total = len(questions_of(folder, limit))
        found = collections.deque(tqdm(compared(folder, owner_id, limit), total=total, unit="question"), maxlen=1).pop()
        self.stdout.write(
            f"{folder.name}: {found.asked} questions, {found.refused / found.asked:.3f} refused,", ending=" "
        )
        self.stdout.write(f"{found.from_right_documents / found.asked:.3f} answered from the right documents alone")
        self.stdout.write(f"{'of the reference':18}{'numbers':>9}{'names':>9}")
        for label, against in (("in the answer", found.answer), ("in the passages", found.passages)):
            self.stdout.write(f"{label:18}{mean(against.numbers):9.3f}{mean(against.names):9.3f}")
        self._times(found.seconds)

    def _report(self, name: str, found: Answers) -> None:
        self.stdout.write(f"{name:22}{'questions':>11}{'refused':>9}{'holds the answer':>18}")
        for kind in sorted(found.by_kind, key=lambda kind: (KINDS.index(kind.split(",")[0]), kind)):
            of_kind = found.by_kind[kind]
            held = f"{of_kind.share(of_kind.held):18.3f}" if kind.startswith("answerable") else ""
            self.stdout.write(f"{kind:22}{of_kind.asked:11}{of_kind.share(of_kind.refused):9.3f}{held}")
        self._times(found.seconds)

    def _times(self, seconds: dict[str, list[float]]) -> None:
        self.stdout.write(f"{'seconds to':14}{'p50':>9}{'p95':>9}")
        for part, values in seconds.items():
            self.stdout.write(f"{part:14}{percentile(values, 50):9.3f}{percentile(values, 95):9.3f}")

    def _follow_ups(self, data: Path, owner_id: int) -> None:
        self.stdout.write(f"{'follow-ups':12}{'':10}{'':16}{'R@1':>8}{'R@5':>8}")
        for seen, file in FOLLOW_UPS.items():
            for name, ways in follow_ups(file, data, owner_id).items():
                for way, (first, among) in ways.items():
                    self.stdout.write(f"{name:12}{seen:10}{way:16}{first:8.3f}{among:8.3f}")
