"""manage.py evaluate DIR: how well search finds what answers."""

import argparse
import collections
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from documents.evaluation import SetIncomplete, evaluate, load_questions
from documents.search import Mode
from ragsite.accounts.owners import UnknownOwner, command_owner

NAMES = {Mode.WORDS: "by words", Mode.MEANING: "by meaning", Mode.FUSED: "fused"}


class Command(BaseCommand):
    help = "Ask a set of questions and print recall@k, MRR@10 and nDCG@10 by words, by meaning and fused."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="Holds questions.jsonl and docs/.")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--limit", type=int, help="Ask a sample of so many questions, always the same.")

    def handle(self, *, folder: Path, owner: str | None, limit: int | None, **options: Any) -> None:
        try:
            user = command_owner(owner)
            questions = load_questions(folder, user.pk, limit)
        except (SetIncomplete, UnknownOwner) as error:
            raise CommandError(str(error)) from error
        steps = tqdm(evaluate(questions, user.pk), total=len(questions), unit="question")
        scores = collections.deque(steps, maxlen=1).pop()
        self.stdout.write(f"{folder.name}: {len(questions)} questions, one relevant chunk each")
        self.stdout.write(f"{'':12}{'R@1':>8}{'R@5':>8}{'R@10':>8}{'MRR@10':>8}{'nDCG@10':>9}")
        for mode, name in NAMES.items():
            score = scores[mode]
            recalls = "".join(f"{score.recall(k):8.4f}" for k in (1, 5, 10))
            self.stdout.write(f"{name:12}{recalls}{score.mrr:8.4f}{score.ndcg:9.4f}")
