"""How much of a reference answer the site's own says: its numbers, its names, its documents.

For sets whose answers are written out and have no place in the text (`sec10q`). What the question names itself does not
count. The passages are judged beside the answer: what they hold is the most that quotes of them could.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from chat.answers.question import Question
from chat.engines.extractive import ExtractiveEngine
from chat.engines.phrases import NOTHING_FOUND
from chat.engines.support import names_in, numbers_in
from chat.engines.words import terms
from chat.evaluation import Entry, answered, entries_of, note_seconds
from documents.evaluation import documents_of
from documents.search import Scope
from documents.search.ranking import rank
from ragsite.embedding import encoder

_SOURCES = re.compile(r"\(?SOURCES?(?:\(S\))?:[^)\n]*\)?", re.IGNORECASE)
LANGUAGE = "en"


@dataclass
class Against:
    """Shares of the reference's numbers and names, one a question that has any."""

    numbers: list[float] = field(default_factory=list)
    names: list[float] = field(default_factory=list)

    def add(self, text: str, numbers: set[str], names: set[str]) -> None:
        if numbers:
            self.numbers.append(len(numbers & numbers_in(text)) / len(numbers))
        if names:
            self.names.append(len(names & set(terms(text, LANGUAGE))) / len(names))


@dataclass
class Compared:
    """What came of a set's questions so far."""

    asked: int = 0
    refused: int = 0
    from_right_documents: int = 0
    """Answers all of whose citations are of documents that the reference is about."""
    answer: Against = field(default_factory=Against)
    passages: Against = field(default_factory=Against)
    seconds: dict[str, list[float]] = field(default_factory=dict)


def mean(shares: list[float]) -> float:
    return fmean(shares) if shares else 0.0


def questions_of(folder: Path, limit: int | None) -> list[Entry]:
    """Those with a reference; with ``limit`` a sample, always the same. Raises SetIncomplete."""
    entries = [entry for entry in entries_of(folder) if "reference_answer" in entry]
    random.Random(0).shuffle(entries)  # noqa: S311
    return entries[:limit]


def compared(folder: Path, owner_id: int, limit: int | None = None) -> Iterator[Compared]:
    """The outcomes so far, after each question."""
    found = Compared()
    ids = documents_of(folder, owner_id, {path for entry in entries_of(folder) for path in entry["documents"]})
    scope = Scope(owner_id, documents=tuple(ids.values()))
    for entry in questions_of(folder, limit):
        message = answered(owner_id, Question(entry["question"], scope))
        right = {str(ids[path]) for path in entry["documents"]}
        cited = {citation["document"] for citation in message["citations"]}
        numbers, names = expected(entry)
        found.asked += 1
        found.refused += message["content"] in NOTHING_FOUND.values()
        found.from_right_documents += bool(cited) and cited <= right
        found.answer.add(message["content"], numbers, names)
        found.passages.add(_passages(scope, entry["question"]), numbers, names)
        note_seconds(found.seconds, message["timings"])
        yield found


def expected(entry: Entry) -> tuple[set[str], set[str]]:
    """The reference's numbers of two digits and more, and its names, without those of the question."""
    reference = _SOURCES.sub("", entry["reference_answer"])
    numbers = {number for number in numbers_in(reference) - numbers_in(entry["question"]) if len(number) > 1}
    return numbers, set(names_in(reference, LANGUAGE)) - set(terms(entry["question"], LANGUAGE))


def _passages(scope: Scope, question: str) -> str:
    """What the quoting engine reads."""
    vector = encoder().embed_query(question)
    return "\n".join(hit.text for hit in rank(scope, question, vector, ExtractiveEngine.passages_wanted))
