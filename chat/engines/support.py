"""Whether an answer's sentences are supported by the passages that they cite.

A judge of words and of vectors, not of logic: what stands in the passage in other words is found, a number or a
subject that does not stand there is seen, a missing "not" is not. Figures: docs/chat.md.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

from chat.answers.passages import Passage
from chat.engines.likeness import cosines
from chat.engines.markers import MARKER
from chat.engines.phrases import NOTHING_FOUND, question_language
from chat.engines.reading import Reading, ReadPassage, Words, numbers_in, words_in
from chat.engines.words import terms
from ragsite.sentences import sentences

ENOUGH_WORDS = 0.8
"""Of the claim's words that stand in its passage: then it is supported."""
LEAST_WORDS = 0.4
LEAST_COSINE = 0.88
"""Of the claim and the passage's nearest sentence, where words alone do not tell."""
LEAST_COSINE_ACROSS = 0.83
"""The same where claim and passage are in different languages, and words tell nothing."""
LEAST_TERMS = 2
MOST_JUDGED = 60
MOST_SENTENCES = 24
MOST_NEAR = 3
"""Sentences that a claim is compared with by meaning, of those with most of its words."""
_NAMES_ARE_CAPITAL = frozenset({"en", "fr", "es", "it", "pt", "nl"})
_NAME = re.compile(r"(?<![.!?:\n]\s)(?<!^)\b[A-ZÀ-Þ][\w’'-]+")
_LEADING = re.compile(rf"(?:\s*{MARKER.pattern})+\s*")
_DECORATION = re.compile(r"^\s*(?:[-*+•>#]+\s+|\d{1,3}[.)]\s+|\|)+")
_SAID_OF_NOTHING = frozenset(NOTHING_FOUND.values())

NOT_IN_SOURCE, NO_SOURCE = "not_in_source", "no_source"


@dataclass(frozen=True)
class Claim:
    """A sentence of the answer that states something; ``start`` and ``end`` are offsets in the answer."""

    start: int
    end: int
    text: str
    markers: tuple[int, ...]


def assess(
    content: str, sources: Mapping[int, Passage], passages: Sequence[Passage], reading: Reading
) -> dict[str, Any] | None:
    """How many of an answer's claims are supported, and which are not; None where it claims nothing.

    ``sources`` are the passages that its markers point into; a claim without a marker may rest on any of ``passages``.
    """
    found = list(claims(content))[:MOST_JUDGED]
    if not found:
        return None
    judged = {_said(claim): claim for claim in found}  # what is said twice is judged once
    supported = {said: _is_supported(claim, sources, passages, reading) for said, claim in judged.items()}
    unsupported = [_complaint(claim) for claim in found if not supported[_said(claim)]]
    return {"claims": len(found), "supported": len(found) - len(unsupported), "unsupported": unsupported}


def _said(claim: Claim) -> tuple[str, tuple[int, ...]]:
    return claim.text.strip(), claim.markers


def _complaint(claim: Claim) -> dict[str, Any]:
    return {"start": claim.start, "end": claim.end, "reason": NOT_IN_SOURCE if claim.markers else NO_SOURCE}


# --- What an answer claims --------------------------------------------------------------------------------------------
def claims(content: str) -> Iterator[Claim]:
    """The statements of an answer, each with the markers that stand for it."""
    language = question_language(content) or "en"
    for start, line in _prose_lines(content):
        yield from _with_markers(list(_sentences(line, start, language)))


def _prose_lines(content: str) -> Iterator[tuple[int, str]]:
    """Lines that are neither code nor headings nor rules of tables, with their offsets."""
    place, fenced = 0, False
    for line in content.splitlines(keepends=True):
        start, place = place, place + len(line)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith("#") and re.search(r"\w", line):
            yield start, line


def _sentences(line: str, offset: int, language: str) -> Iterator[Claim]:
    """The line's sentences; markers at the beginning of one belong to that before."""
    decoration = _DECORATION.match(line)
    skipped = decoration.end() if decoration else 0
    before: Claim | None = None
    for start, end in sentences(line[skipped:], language):
        start, end = start + skipped, end + skipped
        if before and (leading := _LEADING.match(line[start:end])):
            numbers = (*before.markers, *_numbers(leading[0]))
            before = Claim(before.start, offset + start + len(leading[0].rstrip()), before.text, numbers)
            start += leading.end()
        if start < end:
            if before:
                yield before
            text = line[start:end]
            before = Claim(offset + start, offset + end, MARKER.sub(" ", text), _numbers(text))
    if before:
        yield before


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for found in MARKER.finditer(text) for number in re.findall(r"\d+", found[1]))


def _with_markers(line: list[Claim]) -> Iterator[Claim]:
    """Sentences without a marker of their own share that of the next one in their line."""
    for number, claim in enumerate(line):
        if _states_something(claim.text):
            later = (other.markers for other in line[number:] if other.markers)
            yield Claim(claim.start, claim.end, claim.text, next(later, ()))


def _states_something(text: str) -> bool:
    text = text.strip()
    if text in _SAID_OF_NOTHING or text.endswith(("?", "？", ":", "：")):
        return False
    return len(terms(text, question_language(text))) >= LEAST_TERMS


# --- Whether it is supported ------------------------------------------------------------------------------------------
def _is_supported(claim: Claim, sources: Mapping[int, Passage], passages: Sequence[Passage], reading: Reading) -> bool:
    cited = {sources[marker].number: sources[marker] for marker in claim.markers if marker in sources}
    return supports([reading.of(passage) for passage in list(cited.values()) or passages], claim.text)


def supports(passages: Sequence[ReadPassage], claim: str) -> bool:
    """Whether the passages together say what the claim does."""
    numbers = numbers_in(claim)
    if numbers and not numbers <= _union(passage.numbers for passage in passages):
        return False
    asked_in = question_language(claim)
    languages = {passage.language for passage in passages}
    names = names_in(claim, asked_in) if asked_in in languages else frozenset()
    if names and not names <= _union(passage.words(asked_in) for passage in passages):
        return False
    wanted = {language: words_in(claim, language) for language in languages}
    share = max((shared_words(wanted[passage.language], passage) for passage in passages), default=0.0)
    if share >= ENOUGH_WORDS:
        return True
    across = bool(asked_in) and asked_in not in languages
    if share < LEAST_WORDS and not across:
        return False
    best = best_cosine(claim, wanted, passages, by_words=not across)
    return share >= 0.5 if best is None else best >= (LEAST_COSINE_ACROSS if across else LEAST_COSINE)


def _union(sets: Iterable[Words]) -> Words:
    return frozenset().union(*sets)


def names_in(text: str, language: str) -> Words:
    """Stems of the words that are names by their capital; none where capitals tell nothing."""
    if language not in _NAMES_ARE_CAPITAL:
        return frozenset()
    return words_in(" ".join(_NAME.findall(text.strip())), language)


def shared_words(wanted: Words, passage: ReadPassage) -> float:
    """The share of the claim's words that stand in the passage or above it."""
    return len(wanted & passage.words_with_name) / len(wanted) if wanted else 0.0


def best_cosine(
    claim: str, wanted: Mapping[str, Words], passages: Sequence[ReadPassage], by_words: bool
) -> float | None:
    """Of the claim and the nearest sentence, looked for among those that share most words with it where words tell.

    A sentence costs the encoder 15 ms: all 24 for each claim were 0.4 s of processor time an answer.
    """
    found = [
        (read.passage.text[start:end], len(wanted[read.language] & words))
        for read in passages
        for start, end, words in read.sentences
    ]
    if by_words:
        found = nlargest(MOST_NEAR, found, key=lambda sentence: sentence[1])
    alike = cosines(claim, [text for text, _ in found[:MOST_SENTENCES]]) if found else None
    return None if alike is None else float(alike.max())
