"""Passages as they are compared with claims: read once an answer, however many claims there are."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from chat.answers.connections import DATABASE_AWAY, release_connection
from chat.answers.passages import Passage
from chat.engines.candidates import Candidate, sentence_spans
from chat.engines.words import covered, rarity, terms
from documents.search.sentences import Chunk, SentenceVector, sentence_vectors

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")
READ_TOGETHER = 3
"""Models cite the first passages most. The vectors of eight were 100 KB, of which an answer used a quarter."""
Words = frozenset[str]
Vectors = Callable[[Passage], Sequence[SentenceVector]]
"""The vectors of a passage's sentences, as far as they are kept."""


def _none_kept(_passage: Passage) -> Sequence[SentenceVector]:
    return ()


def words_in(text: str, language: str) -> Words:
    """Stems; of numbers their digits alone, because languages differ in what separates these."""
    return frozenset(re.sub(r"\D", "", term) if NUMBER.fullmatch(term) else term for term in terms(text, language))


def numbers_in(text: str) -> Words:
    """Numbers without what separates their digits."""
    return frozenset(re.sub(r"\D", "", found) for found in NUMBER.findall(text))


class KeptVectors:
    """Those that an owner's library keeps of some passages: a few passages' together, when the first are wanted."""

    def __init__(self, owner_id: int, passages: Sequence[Passage]) -> None:
        self._owner_id = owner_id
        chunks = [(passage.hit.document_id, passage.hit.position) for passage in passages]
        together = [chunks[place : place + READ_TOGETHER] for place in range(0, len(chunks), READ_TOGETHER)]
        self._neighbours = {chunk: few for few in together for chunk in few}
        self._found: dict[Chunk, Sequence[SentenceVector]] = {}

    def __call__(self, passage: Passage) -> Sequence[SentenceVector]:
        chunk = (passage.hit.document_id, passage.hit.position)
        if chunk not in self._found:
            few = self._neighbours.get(chunk, [])
            self._found |= {**dict.fromkeys([chunk, *few], ()), **self._read(few)}
        return self._found[chunk]

    def _read(self, chunks: Sequence[Chunk]) -> Mapping[Chunk, Sequence[SentenceVector]]:
        try:
            return sentence_vectors(self._owner_id, chunks)
        except DATABASE_AWAY as error:
            logger.warning("sentences are embedded anew, the database is down: %s", type(error).__name__)
            return {}
        finally:
            release_connection()


class ReadPassage:
    """A passage with its words, in any language's stems, and its sentences."""

    def __init__(self, passage: Passage, vectors: Vectors = _none_kept) -> None:
        self.passage = passage
        self.language = passage.language
        self._vectors = vectors
        self._words: dict[str, Words] = {}

    def words(self, language: str) -> Words:
        """Of the passage and of what stands above it."""
        if language not in self._words:
            self._words[language] = words_in(self._text_with_context, language)
        return self._words[language]

    @cached_property
    def words_with_name(self) -> Words:
        """And of the file's name, in the passage's own language."""
        return self.words(self.language) | words_in(self.passage.hit.filename, self.language)

    @cached_property
    def numbers(self) -> Words:
        return numbers_in(self._text_with_context)

    @cached_property
    def sentences(self) -> list[tuple[int, int, Words]]:
        """Start and end in the passage's text, and the stems between."""
        text = self.passage.text
        spans = sentence_spans(self.passage)
        return [(start, end, frozenset(terms(text[start:end], self.language))) for start, end in spans]

    def candidates(self, claim: str) -> list[Candidate]:
        """All sentences with the share of the claim's words in them, by their rarity in this passage."""
        bags = [words for *_, words in self.sentences]
        wanted, offset = rarity(bags, set(terms(claim, self.language))), self.passage.hit.start
        return [
            Candidate(self.passage, start + offset, end + offset, covered(wanted, bag))
            for (start, end, _), bag in zip(self.sentences, bags, strict=True)
        ]

    def vector_of(self, sentence: Candidate) -> SentenceVector | None:
        """The kept vector that stands for most of a sentence; it may stand for short neighbours too."""
        best = max(self._kept, key=lambda kept: _overlap(kept, sentence), default=None)
        return best if best and _overlap(best, sentence) > 0 else None

    @cached_property
    def _kept(self) -> Sequence[SentenceVector]:
        return self._vectors(self.passage)

    @property
    def _text_with_context(self) -> str:
        hit = self.passage.hit
        return f"{hit.title} {' '.join(hit.headings)} {hit.text}"


class Reading:
    """The passages that were read for one answer."""

    def __init__(self, vectors: Vectors = _none_kept) -> None:
        self._read: dict[int, ReadPassage] = {}
        self._vectors = vectors

    def of(self, passage: Passage) -> ReadPassage:
        """By its number."""
        return self._read.setdefault(passage.number, ReadPassage(passage, self._vectors))


def _overlap(kept: SentenceVector, sentence: Candidate) -> int:
    return min(kept.end, sentence.end) - max(kept.start, sentence.start)
