"""Whether the sentences found answer the question at all.

Two judges, and either may refuse. The first asks whether the passages are about the question: it is sure of questions
about other things. The second weighs many small signs (``chat/engines/signals.py``) for those that only look
answerable; its weights are in ``evidence.json``, fitted by ``tests/quality/calibrate_evidence.py``. docs/answers.md
has the figures.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

from chat.engines.base import Request
from chat.engines.candidates import Candidate
from chat.engines.phrases import question_language
from chat.engines.signals import Signals, signals
from chat.engines.words import terms

WEIGHTS = Path(__file__).with_name("evidence.json")
FITTED_ON = "en"
LEAST_MEANING = 0.798
"""Of the best sentence's cosine, when every word of the question stands somewhere in the passages."""
MISSING_WEIGHT = 0.1
LEAST_MEANING_ACROSS = 0.78
"""The same for a question in another language than the sentence, whose words tell nothing."""
LEAST_SPECIFIC = 0.055
"""So much nearer must the sentence be to the question than to questions about anything: filler is near to all."""
ENOUGH_WORDS = 0.85
"""What stands in one sentence word for word is found, unless that sentence says the opposite."""
LEAST_WORDS = 0.35
"""Of the question's words in the best sentence, where cosines are not e5's or not there."""


@dataclass(frozen=True)
class Weights:
    """A logistic regression: the sum of weight · signal is at least ``least`` where there is an answer."""

    weights: dict[str, float]
    least: float
    least_in_other_languages: float

    def doubts(self, values: Signals, language: str) -> bool:
        least = self.least if language == FITTED_ON else self.least_in_other_languages
        return sum(weight * values[name] for name, weight in self.weights.items()) < least


@cache
def fitted() -> Weights:
    kept = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return Weights(kept["weights"], kept["least"], kept["least_in_other_languages"])


@cache
def calibrated_on() -> frozenset[str]:
    """The documents of the sets (``docs/….md``) whose questions the weights were fitted on."""
    return frozenset(json.loads(WEIGHTS.read_text(encoding="utf-8"))["calibrated_on"])


def is_answered(request: Request, found: Sequence[Candidate]) -> bool:
    """``found`` are the candidates, best first."""
    if not found:
        return False
    best = found[0]
    missing = missing_share(request, best.passage.language)
    if not best.meaning or "e5" not in settings.EMBEDDING_MODEL:
        return best.words >= LEAST_WORDS
    asked_in = question_language(request.question)
    if asked_in and asked_in != best.passage.language:
        return best.meaning >= LEAST_MEANING_ACROSS and is_specific(best)
    values = signals(request, found)
    if best.words >= ENOUGH_WORDS and not missing and not (values["opposite"] or values["negation_differs"]):
        return True
    return is_about(best, missing) and not fitted().doubts(values, best.passage.language)


def is_about(best: Candidate, missing: float) -> bool:
    """``missing`` is the share of the question's words that no passage holds."""
    return best.meaning - MISSING_WEIGHT * missing >= LEAST_MEANING and is_specific(best)


def is_specific(best: Candidate) -> bool:
    return best.meaning - best.background >= LEAST_SPECIFIC


def missing_share(request: Request, language: str) -> float:
    """The share of the question's words that stand in none of the passages."""
    wanted = set(terms(request.query, language))
    there: set[str] = set()
    for passage in request.passages:
        there.update(terms(f"{passage.hit.title} {passage.text}", passage.language))
    return len(wanted - there) / len(wanted) if wanted else 0.0
