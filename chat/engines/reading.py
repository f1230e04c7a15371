"""Passages as they are compared with claims: read once an answer, however many claims there are."""

import re
from functools import cached_property

from chat.answers.passages import Passage
from chat.engines.candidates import Candidate, sentence_spans
from chat.engines.words import covered, rarity, terms

NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")
Words = frozenset[str]


def words_in(text: str, language: str) -> Words:
    """Stems; of numbers their digits alone, because languages differ in what separates these."""
    return frozenset(re.sub(r"\D", "", term) if NUMBER.fullmatch(term) else term for term in terms(text, language))


def numbers_in(text: str) -> Words:
    """Numbers without what separates their digits."""
    return frozenset(re.sub(r"\D", "", found) for found in NUMBER.findall(text))


class ReadPassage:
    """A passage with its words, in any language's stems, and its sentences."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.language = passage.language
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
        bags = [set(words) for *_, words in self.sentences]
        wanted, offset = rarity(bags, set(terms(claim, self.language))), self.passage.hit.start
        return [
            Candidate(self.passage, start + offset, end + offset, covered(wanted, bag))
            for (start, end, _), bag in zip(self.sentences, bags, strict=True)
        ]

    @property
    def _text_with_context(self) -> str:
        hit = self.passage.hit
        return f"{hit.title} {' '.join(hit.headings)} {hit.text}"


class Reading:
    """The passages that were read for one answer."""

    def __init__(self) -> None:
        self._read: dict[int, ReadPassage] = {}

    def of(self, passage: Passage) -> ReadPassage:
        """By its number."""
        return self._read.setdefault(passage.number, ReadPassage(passage))
