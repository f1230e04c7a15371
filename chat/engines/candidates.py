"""The sentences that may answer a question, and how well each does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chat.answers.passages import Passage
from chat.engines.answer_types import AnswerType, asked_for, places_of
from chat.engines.background import background
from chat.engines.base import Request
from chat.engines.words import covered, rarity, terms
from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable
from ragsite.sentences import lines, sentences

PASSAGES_READ = 4
MOST_EMBEDDED = 8
"""By meaning, only the sentences that are best by all else are judged: embedding them is most of an answer's time. 8 do
as well as 10 (docs/answers.md)."""
MEANING_WEIGHT = 6.0
PASSAGE_WEIGHT = 0.5
"""Weights of 4 to 8 and of 0.5 to 1 are about equal; without the passage's own score the second sentence is worse."""
BEFORE_WEIGHT = 0.5
"""Of the question's words that only the sentence before holds: "He was born in …" does not say who."""
LACKING_WEIGHT = 0.25
"""docs/answers.md has what these two and the choice by them win."""
SHORTEST_SENTENCE = 3


@dataclass(frozen=True)
class Candidate:
    """A sentence of a passage; ``start`` and ``end`` are offsets in its document."""

    passage: Passage
    start: int
    end: int
    words: float
    """The share of the question's words that it holds, by their rarity."""
    meaning: float = 0.0
    background: float = 0.0
    """Its mean cosine with questions about anything (``chat/engines/background.py``)."""
    before: float = 0.0
    """The share that the sentence before adds to its words."""
    lacking: bool = False
    """Whether a number, a date or a name is asked for and it has none."""

    @property
    def text(self) -> str:
        hit = self.passage.hit
        return hit.text[self.start - hit.start : self.end - hit.start]

    @property
    def score(self) -> float:
        by_text = self.words + BEFORE_WEIGHT * self.before - LACKING_WEIGHT * self.lacking
        return by_text + MEANING_WEIGHT * self.meaning + PASSAGE_WEIGHT * self.passage.hit.score


def candidates(request: Request) -> list[Candidate]:
    """The sentences of the first passages with their scores, best first."""
    found = lexical_candidates(request.query, request.passages[:PASSAGES_READ])
    found.sort(key=lambda candidate: -candidate.score)
    return sorted(_with_meaning(request.vector, found[:MOST_EMBEDDED]), key=lambda candidate: -candidate.score)


def lexical_candidates(question: str, passages: Sequence[Passage]) -> list[Candidate]:
    """All sentences, judged by their words."""
    spans = [sentence_spans(passage) for passage in passages]
    bags = [
        [set(terms(passage.text[start:end], passage.language)) for start, end in of_passage]
        for passage, of_passage in zip(passages, spans, strict=True)
    ]
    every, kind = [bag for of_passage in bags for bag in of_passage], asked_for(question)
    wanted = {language: rarity(every, set(terms(question, language))) for language in {p.language for p in passages}}
    return [
        replace(candidate, lacking=kind is not AnswerType.OTHER and not places_of(kind, candidate.text, question))
        for passage, its_spans, its_bags in zip(passages, spans, bags, strict=True)
        for candidate in _in_passage(passage, its_spans, its_bags, wanted[passage.language])
    ]


def _in_passage(
    passage: Passage, spans: Sequence[tuple[int, int]], bags: Sequence[set[str]], wanted: Mapping[str, float]
) -> Iterator[Candidate]:
    """Its sentences, each with its words; the rows of a table stand for themselves."""
    offset, is_table = passage.hit.start, passage.hit.kind == "table"
    before: set[str] = set()
    for (start, end), bag in zip(spans, bags, strict=True):
        words = covered(wanted, bag)
        yield Candidate(passage, start + offset, end + offset, words, before=covered(wanted, bag | before) - words)
        before = set() if is_table else bag


def sentence_spans(passage: Passage) -> list[tuple[int, int]]:
    """The passage's sentences, or a table's rows; headings and scraps are none, unless nothing else is there."""
    if passage.hit.kind == "table":
        return list(lines(passage.text))
    spans = sentences(passage.text, passage.language)
    proper = [(start, end) for start, end in spans if _is_sentence(passage.text[start:end])]
    return proper or spans


def _is_sentence(text: str) -> bool:
    return not text.startswith("#") and (len(text.split()) >= SHORTEST_SENTENCE or not text.isascii())


def _with_meaning(query: NDArray[np.float32] | None, found: list[Candidate]) -> list[Candidate]:
    """The same with their cosines; without, when the encoder is away: an answer by words is better than none."""
    if not found or query is None:
        return found
    try:
        vectors = encoder().embed_sentences([_in_context(candidate) for candidate in found])
        near = vectors @ np.column_stack([query, background()])
    except (EncoderUnavailable, EncoderRejected):
        return found
    return [
        replace(candidate, meaning=float(to_question), background=float(to_any))
        for candidate, (to_question, to_any) in zip(found, near, strict=True)
    ]


def _in_context(candidate: Candidate) -> str:
    """The sentence behind the title of its document: a sentence alone rarely names what it is about."""
    title = candidate.passage.hit.title
    return f"{title}\n{candidate.text}" if title else candidate.text
