"""Fits the weights by which questions without an answer are refused, and writes chat/engines/evidence.json.

    python manage.py ingest ../shared/data/squad && python manage.py ingest ../shared/data/jaquad
    python tests/quality/calibrate_evidence.py ../shared/data/squad ../shared/data/jaquad

Half of the documents calibrate (every other one by name), the other half is what is printed. Beside each set's own
questions, some are asked without the document that answers them: questions about other things. A set whose questions
are all answerable (`jaquad`) has no tricky ones to learn from, so it weighs less: it is there to see that other
languages do not fall. A run on both sets takes ten minutes.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
ABOUT_OTHER_THINGS = 600
FALSE_REFUSALS = 0.10
"""On the calibrating half, both judges together."""
FALSE_REFUSALS_ELSEWHERE = 0.03
"""Of languages that the weights were not fitted on: where less is known, refuse less."""
WEIGHT_WITHOUT_TRICKY = 0.3
RIDGE = 3.0
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A question with its signals; ``kind`` is answerable, tricky or other."""

    document: str
    kind: str
    calibrates: bool
    weight: float
    about: bool
    values: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    import django

    django.setup()
    from chat.engines.evidence import WEIGHTS

    judged = [entry for folder in given.folders for entry in collected(folder, given.owner)]
    weights = fitted(judged)
    least, elsewhere = thresholds(judged, weights)
    kept = {
        "made_by": "tests/quality/calibrate_evidence.py",
        "calibrated_on": sorted({entry.document for entry in judged if entry.calibrates}),
        "weights": {name: round(weight, 4) for name, weight in weights.items()},
        "least": round(least, 4),
        "least_in_other_languages": round(elsewhere, 4),
    }
    WEIGHTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report(judged, weights, least, elsewhere)


def collected(folder: Path, owner: str | None) -> Iterator[Judged]:
    """The set's questions, and some of them again without their document, as the site would judge them."""
    from documents.evaluation import documents_of
    from ragsite.accounts.owners import command_owner

    entries = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    owner_id = command_owner(owner).pk
    ids = documents_of(folder, owner_id, {entry["document"] for entry in entries})
    calibrates = set(sorted(ids)[::2])
    weight = 1.0 if not all(entry["answerable"] for entry in entries) else WEIGHT_WITHOUT_TRICKY
    answerable = [entry for entry in entries if entry["answerable"]]
    others = random.Random(3).sample(answerable, min(ABOUT_OTHER_THINGS, len(answerable)))
    asked = [(entry, tuple(ids.values()), "answerable" if entry["answerable"] else "tricky") for entry in entries]
    asked += [(entry, tuple(v for k, v in ids.items() if k != entry["document"]), "other") for entry in others]
    for entry, documents, kind in asked:
        found = judged_by_signals(owner_id, documents, entry["question"])
        if found:
            yield Judged(entry["document"], kind, entry["document"] in calibrates, weight, *found)


def judged_by_signals(owner_id: int, documents: tuple[Any, ...], question: str) -> tuple[bool, dict[str, float]] | None:
    """Whether the passages are about it, and the signals of the best sentence."""
    from chat.answers.passages import Passage
    from chat.engines.base import Request
    from chat.engines.candidates import candidates
    from chat.engines.evidence import is_about, missing_share
    from chat.engines.extractive import ExtractiveEngine
    from chat.engines.signals import signals
    from documents.search import Scope
    from documents.search.ranking import rank
    from ragsite.embedding import encoder

    vector = encoder().embed_query(question)
    hits = rank(Scope(owner_id, documents=documents), question, vector, ExtractiveEngine.passages_wanted)
    request = Request(question, question, tuple(Passage(n, hit) for n, hit in enumerate(hits, 1)), vector=vector)
    found = candidates(request)
    if not found:
        return None
    about = is_about(found[0], missing_share(request, found[0].passage.language))
    return about, signals(request, found)


def fitted(judged: list[Judged]) -> dict[str, float]:
    """The weights of a logistic regression, of the signals as they are."""
    known = [entry for entry in judged if entry.calibrates]
    names = list(known[0].values)
    signals = np.array([[entry.values[name] for name in names] for entry in known])
    answers = np.array([entry.kind == "answerable" for entry in known], dtype=float)
    mean, spread = signals.mean(axis=0), signals.std(axis=0) + 1e-9
    scaled = regression((signals - mean) / spread, answers, np.array([entry.weight for entry in known]))
    return dict(zip(names, (scaled / spread).tolist(), strict=True))


def regression(signals: Matrix, answers: Matrix, sample_weights: Matrix) -> Matrix:
    """Newton's steps of a logistic regression with a ridge; the intercept is fitted and left out."""
    design = np.column_stack([signals, np.ones(len(signals))])
    ridge = np.diag([RIDGE] * signals.shape[1] + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        likely = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (sample_weights * (likely - answers)) + ridge @ weights
        curvature = (design * (sample_weights * likely * (1 - likely))[:, None]).T @ design + ridge
        weights -= np.linalg.solve(curvature, gradient)
    return weights[:-1]


def thresholds(judged: list[Judged], weights: dict[str, float]) -> tuple[float, float]:
    """The least sums that are an answer: in the language that the weights were fitted on, and in others."""
    known = [entry for entry in judged if entry.calibrates and entry.kind == "answerable"]
    tricky = [entry for entry in known if entry.weight == 1.0]
    others = [entry for entry in known if entry.weight != 1.0] or tricky
    return threshold(tricky, weights, FALSE_REFUSALS), threshold(others, weights, FALSE_REFUSALS_ELSEWHERE)


def threshold(answerable: list[Judged], weights: dict[str, float], share: float) -> float:
    """The highest that refuses no more than this share of them, the first judge's refusals included."""
    sums = sorted(total(entry, weights) for entry in answerable if entry.about)
    return sums[max(int(share * len(answerable)) - (len(answerable) - len(sums)), 0)]


def total(entry: Judged, weights: dict[str, float]) -> float:
    return sum(weight * entry.values[name] for name, weight in weights.items())


def report(judged: list[Judged], weights: dict[str, float], least: float, elsewhere: float) -> None:
    """What is refused of each kind, and the whole curve of the second judge, on the half that did not calibrate."""
    for label, wanted, bar in (("with tricky ones", 1.0, least), ("without", WEIGHT_WITHOUT_TRICKY, elsewhere)):
        rest = [entry for entry in judged if not entry.calibrates and entry.weight == wanted]
        for kind in ("answerable", "tricky", "other"):
            of_kind = [entry for entry in rest if entry.kind == kind]
            if of_kind:
                refused = sum(not entry.about or total(entry, weights) < bar for entry in of_kind)
                print(f"{label:18} {kind:12} {len(of_kind):5} questions, refused {refused / len(of_kind):.3f}")
    curve(judged, lambda entry: total(entry, weights))
    print("one cosine alone:", end=" ")
    curve(judged, lambda entry: entry.values["sentence_meaning"])


def curve(judged: list[Judged], score: Callable[[Judged], float]) -> None:
    rest = [entry for entry in judged if not entry.calibrates and entry.weight == 1.0]
    answerable = np.array([score(entry) for entry in rest if entry.kind == "answerable"])
    tricky = np.array([score(entry) for entry in rest if entry.kind == "tricky"])
    area = (answerable[:, None] > tricky[None, :]).mean()
    print(f"area under the curve {area:.3f}; of the tricky ones are refused, at a share of false refusals of")
    for share in (0.02, 0.05, 0.10, 0.15, 0.20, 0.30):
        print(f"  {share:.2f}: {(tricky < np.quantile(answerable, share)).mean():.3f}")


if __name__ == "__main__":
    main()
