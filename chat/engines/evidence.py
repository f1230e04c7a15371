"""Whether the sentences found answer the question at all.

Calibrated on half of `squad`'s questions, read on the other half: 6 % of those that have an answer are refused, 13 % of
those made to look answerable, 88 % of questions about other things (docs/chat.md).
"""

from collections.abc import Sequence

from django.conf import settings

from chat.engines.base import Request
from chat.engines.candidates import Candidate
from chat.engines.phrases import question_language
from chat.engines.words import terms

LEAST_MEANING = 0.806
"""Of the best sentence's cosine, when every word of the question stands somewhere in the passages."""
MISSING_WEIGHT = 0.1
LEAST_MEANING_ACROSS = 0.80
"""The same for a question in another language than the sentence, whose words tell nothing."""
ENOUGH_WORDS = 0.85
LEAST_WORDS = 0.35
"""Of the question's words in the best sentence, where cosines are not e5's or not there."""


def is_answered(request: Request, found: Sequence[Candidate]) -> bool:
    """``found`` are the candidates, best first."""
    if not found:
        return False
    best = found[0]
    missing = missing_share(request, best.passage.language)
    if best.words >= ENOUGH_WORDS and not missing:
        return True
    if not best.meaning or "e5" not in settings.EMBEDDING_MODEL:
        return best.words >= LEAST_WORDS
    asked_in = question_language(request.question)
    if asked_in and asked_in != best.passage.language:
        return best.meaning >= LEAST_MEANING_ACROSS
    return best.meaning - MISSING_WEIGHT * missing >= LEAST_MEANING


def missing_share(request: Request, language: str) -> float:
    """The share of the question's words that stand in none of the passages."""
    wanted = set(terms(request.query, language))
    there: set[str] = set()
    for passage in request.passages:
        there.update(terms(f"{passage.hit.title} {passage.text}", passage.language))
    return len(wanted - there) / len(wanted) if wanted else 0.0
