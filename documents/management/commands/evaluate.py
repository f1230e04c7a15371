"""manage.py evaluate DIR: how well search finds what answers."""

import argparse
import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from documents.evaluation import NAMES, Question, Run, Score, SetIncomplete, evaluate, load_questions
from documents.search import Mode
from documents.significance import paired_bootstrap
from ragsite.accounts.owners import UnknownOwner, command_owner

FEWEST = 5
"""Questions of a language or type for a line of their own."""
Saved = dict[str, list[Any]]


class Command(BaseCommand):
    help = "Ask a set of questions and print recall@k, MRR@10 and nDCG@10 by words, by meaning and fused."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="Holds questions.jsonl and docs/.")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--limit", type=int, help="Ask a sample of so many questions, always the same.")
        parser.add_argument("--save", type=Path, help="Write where each question's answer was found to this file.")
        parser.add_argument("--against", type=Path, help="Compare with a file saved in another configuration.")

    def handle(self, *, folder: Path, owner: str | None, limit: int | None, **options: Any) -> None:
        try:
            user = command_owner(owner)
            questions = load_questions(folder, user.pk, limit)
        except (SetIncomplete, UnknownOwner) as error:
            raise CommandError(str(error)) from error
        earlier = _read(options["against"], questions) if options["against"] else None
        steps = tqdm(evaluate(questions, user.pk), total=len(questions), unit="question")
        run = collections.deque(steps, maxlen=1).pop()
        self.stdout.write(f"{folder.name}: {len(questions)} questions, one relevant chunk each")
        self._print_scores(run)
        self._print_comparisons(run, earlier)
        self._print_groups("language", [question.language for question in questions], run)
        self._print_groups("type", [question.type for question in questions], run)
        self._print_seconds(run)
        if options["save"]:
            options["save"].write_text(json.dumps(_saved(questions, run)), encoding="utf-8")

    def _print_scores(self, run: Run) -> None:
        self.stdout.write(f"{'':12}{'R@1':>8}{'R@5':>8}{'R@10':>8}{'MRR@10':>8}{'nDCG@10':>9}")
        for mode, name in NAMES.items():
            score = run.scores[mode]
            recalls = "".join(f"{score.recall(k):8.4f}" for k in (1, 5, 10))
            self.stdout.write(f"{name:12}{recalls}{score.mrr:8.4f}{score.ndcg:9.4f}")

    def _print_comparisons(self, run: Run, earlier: dict[Mode, Score] | None) -> None:
        fused = run.scores[Mode.FUSED].gains
        for mode in (Mode.WORDS, Mode.MEANING):
            comparison = paired_bootstrap(fused, run.scores[mode].gains)
            self.stdout.write(f"nDCG@10, fused against {NAMES[mode]}: {comparison}")
        for mode, score in (earlier or {}).items():
            comparison = paired_bootstrap(run.scores[mode].gains, score.gains)
            self.stdout.write(f"nDCG@10, {NAMES[mode]}, now against then: {comparison}")

    def _print_groups(self, by: str, groups: Sequence[str], run: Run) -> None:
        places = {name: [i for i, group in enumerate(groups) if group == name] for name in sorted(set(groups))}
        if len(places) < 2:
            return
        self.stdout.write(f"nDCG@10 by {by:17}{'questions':>10}{'by words':>10}{'by meaning':>12}{'fused':>8}")
        for name, members in places.items():
            if len(members) >= FEWEST:
                words, meaning, fused = (run.scores[mode].of(members).ndcg for mode in NAMES)
                self.stdout.write(f"  {name:26}{len(members):10}{words:10.4f}{meaning:12.4f}{fused:8.4f}")

    def _print_seconds(self, run: Run) -> None:
        for part, seconds in run.seconds.items():
            p50, p95 = np.percentile(seconds, [50, 95]) * 1000
            self.stdout.write(f"{part:22} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms")


def _saved(questions: Sequence[Question], run: Run) -> Saved:
    ranks = {mode.value: score.ranks for mode, score in run.scores.items()}
    return {"questions": [question.text for question in questions], **ranks}


def _read(path: Path, questions: Sequence[Question]) -> dict[Mode, Score]:
    """Raises CommandError when the file is not of the same questions."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["questions"] != [question.text for question in questions]:
            raise CommandError(f"{path} is of other questions.")
        return {mode: Score(saved[mode.value]) for mode in NAMES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} was not saved by this command ({error}).") from error
