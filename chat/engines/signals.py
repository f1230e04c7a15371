"""What tells whether the passages answer a question: numbers about the question, the best sentence and its passages.

Each is about 0 to 1 and means the same in every language; ``chat/engines/evidence.py`` weighs them.
"""

import re
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from typing import TYPE_CHECKING

from chat.engines.answer_types import AnswerType, asked_for, places_of
from chat.engines.base import Request
from chat.engines.candidates import Candidate
from chat.engines.opposites import opposed
from chat.engines.words import covered, folded, rarity, terms

if TYPE_CHECKING:
    from documents.search import Hit

_NUMERAL = re.compile(r"\d+(?:[.,]\d+)*")
_CAPITAL = re.compile(r"[^\W\d_a-zа-яα-ωß-öø-ÿ][\w’'-]+")
_NEGATION = re.compile(
    r"\b(?:not|n[’']t|never|no|none|nor|neither|without|cannot|except|unlike|nicht|kein\w*|nie|niemals|ohne|ne|pas|jamais"
    r"|sans|aucune?|nunca|jamás|sin|ningun[oa]?|non|mai|senza|não|nem|sem|niet|geen|nooit|zonder|не|нет|без)\b"
    r"|\w+n[’']t\b|ない|ません|なかった|不是|没有|不能|不会|并非",
    re.IGNORECASE,
)

TYPED = (AnswerType.NUMBER, AnswerType.DATE, AnswerType.NAME)
Signals = dict[str, float]


def signals(request: Request, found: Sequence[Candidate]) -> Signals:
    """``found`` are the candidates, best first; at least one."""
    best, question = found[0], request.query
    passage, language = best.passage, best.passage.language
    kind = asked_for(question)
    sentence = set(terms(best.text, language))
    in_passage = set(terms(f"{passage.hit.title} {' '.join(passage.hit.headings)} {passage.text}", language))
    wanted = terms(question, language)
    weights = rarity([set(terms(c.text, language)) for c in found], set(wanted))
    meanings = sorted((c.meaning for c in found), reverse=True)
    elsewhere = [c.meaning for c in found if c.passage.number != passage.number]
    candidates = places_of(kind, best.text, question)
    above = above_text(passage.hit)
    return {
        "sentence_meaning": best.meaning,
        "sentence_margin": best.meaning - (sum(meanings) / len(meanings)),
        "passage_margin": meanings[0] - max(elsewhere, default=meanings[-1]),
        "covered_by_sentence": covered(weights, sentence),
        "missing_in_passage": _missing(wanted, in_passage),
        "pairs_in_sentence": _pairs(wanted, terms(best.text, language)),
        "names_missing": _unnamed(question, f"{above} {passage.text}"),
        "numbers_missing_in_sentence": _missing(_numerals(question, without=above), set(_NUMERAL.findall(best.text))),
        "rarest_missing_in_passage": _rarest_missing(weights, in_passage),
        "rarest_missing_in_sentence": _rarest_missing(weights, sentence),
        "opposite": float(opposed(question, best.text)),
        "negation_differs": float(bool(_NEGATION.search(question)) and not _NEGATION.search(best.text)),
        "negation_asked": float(bool(_NEGATION.search(question))),
        **{f"no_{asked}": float(kind is asked and not candidates) for asked in TYPED},
        "terms": min(len(wanted), 12) / 12,
    }


def above_text(hit: "Hit") -> str:
    """What names the place: nobody repeats in a sentence which report it stands in ("in the Q1 2023 10-Q")."""
    return f"{hit.title} {' '.join(hit.headings)} {hit.filename}"


def _numerals(question: str, without: str) -> list[str]:
    known = set(_NUMERAL.findall(without))
    return [numeral for numeral in _NUMERAL.findall(question) if numeral not in known]


def _missing(wanted: Sequence[str], there: Set[str]) -> float:
    """The share of what is wanted that is not there."""
    return sum(term not in there for term in wanted) / len(wanted) if wanted else 0.0


def _rarest_missing(weights: Mapping[str, float], there: Set[str]) -> float:
    """The weight of the rarest word that is not there, as a share of the rarest one's."""
    missing = max((weight for word, weight in weights.items() if word not in there), default=0.0)
    return missing / max(weights.values()) if weights else 0.0


def _pairs(wanted: Sequence[str], there: Sequence[str]) -> float:
    """The share of the question's neighbouring words that stand next to each other in the sentence too."""
    pairs = set(pairwise(wanted))
    return len(pairs & set(pairwise(there))) / len(pairs) if pairs else 0.0


def _unnamed(question: str, text: str) -> float:
    """The share of the question's names (capitals after its first word) that the text does not hold."""
    names = [match.group() for match in _CAPITAL.finditer(question) if match.start() > 0]
    there = folded(text)
    return sum(folded(name).removesuffix("'s") not in there for name in names) / len(names) if names else 0.0
