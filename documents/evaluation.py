"""How well search finds what answers: recall@k, MRR@10 and nDCG@10 over a set of questions.

A set is a folder with ``docs/`` and ``questions.jsonl``, an object a line: ``question``, ``document`` (path),
``answerable``, ``answers`` [{start, end}] in code points of the document's text; or, without positions,
``documents`` alone: then a hit is any chunk of one of them.
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from documents.models import Document
from documents.question_types import question_type
from documents.search import Hit, Mode, Scope
from documents.search.ranking import rank
from ragsite.embedding import encoder

DEPTH = 10
NAMES = {Mode.WORDS: "by words", Mode.MEANING: "by meaning", Mode.FUSED: "fused"}


class SetIncomplete(Exception):
    """The question set cannot be used: the message says why and what to do."""


@dataclass(frozen=True)
class Question:
    """A question with what counts as found: spans by document, or None where any chunk of the document does."""

    text: str
    spans: dict[UUID, tuple[tuple[int, int], ...] | None]
    language: str = ""
    type: str = ""

    def first_hit(self, hits: Sequence[Hit]) -> int | None:
        """The rank, from 1, of the first hit that covers an answer."""
        return next((place for place, hit in enumerate(hits, start=1) if self._covers(hit)), None)

    def _covers(self, hit: Hit) -> bool:
        if hit.document_id not in self.spans:
            return False
        spans = self.spans[hit.document_id]
        return spans is None or any(hit.start <= start and end <= hit.end for start, end in spans)


@dataclass
class Score:
    """Measures over questions, from the rank of the first hit of each (None: not among the first ten)."""

    ranks: list[int | None] = field(default_factory=list)

    def recall(self, k: int) -> float:
        return self._mean(1.0 if rank_ <= k else 0.0 for rank_ in self._found())

    @property
    def mrr(self) -> float:
        return self._mean(1 / rank_ for rank_ in self._found())

    @property
    def ndcg(self) -> float:
        return self._mean(self.gains)

    @property
    def gains(self) -> list[float]:
        """nDCG@10 of each question: 1 / log2(rank + 1) with one relevant chunk (Järvelin and Kekäläinen, 2002)."""
        return [1 / math.log2(rank_ + 1) if rank_ else 0.0 for rank_ in self.ranks]

    def of(self, places: Iterable[int]) -> "Score":
        """The same of some of the questions."""
        return Score([self.ranks[place] for place in places])

    def _found(self) -> Iterator[int]:
        return (rank_ for rank_ in self.ranks if rank_ is not None)

    def _mean(self, gains: Iterable[float]) -> float:
        return sum(gains) / len(self.ranks) if self.ranks else 0.0


@dataclass
class Run:
    """A set asked in every mode, as far as it has come; ``seconds`` of each part of each search."""

    scores: dict[Mode, Score] = field(default_factory=lambda: {mode: Score() for mode in Mode})
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds.setdefault(part, []).append(time.perf_counter() - started)


def load_questions(folder: Path, owner_id: int, limit: int | None = None) -> list[Question]:
    """The answerable questions of a set, its documents found in the owner's library by their content.

    With ``limit`` a random sample of that many, always the same. Raises SetIncomplete when documents are missing.
    """
    try:
        lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SetIncomplete(f"{folder} holds no questions.jsonl ({error.strerror}).") from error
    entries = [entry for entry in map(json.loads, lines) if entry.get("answerable", True)]
    if limit and limit < len(entries):
        entries = random.Random(0).sample(entries, limit)  # noqa: S311
    ids = documents_of(folder, owner_id, {path for entry in entries for path in _paths(entry)})
    return [_question(entry, ids) for entry in entries]


def _paths(entry: dict[str, Any]) -> list[str]:
    return [entry["document"]] if "document" in entry else entry["documents"]


def documents_of(folder: Path, owner_id: int, paths: set[str]) -> dict[str, UUID]:
    hashes = {path: _digest(folder, path) for path in paths}
    rows = Document.objects.filter(owner_id=owner_id, status="processed", sha256__in=hashes.values())
    known = {bytes(sha256): id_ for id_, sha256 in rows.values_list("id", "sha256")}
    missing = sorted(path for path, digest in hashes.items() if digest not in known)
    if missing:
        raise SetIncomplete(
            f"{len(missing)} of {len(paths)} documents are not (yet) processed in this library, such as {missing[0]}. "
            f"Run first: manage.py ingest {folder}"
        )
    return {path: known[digest] for path, digest in hashes.items()}


def _digest(folder: Path, path: str) -> bytes:
    """The SHA-256 of a document, named by its path in the folder or in its ``docs/``."""
    for place in (folder / path, folder / "docs" / path):
        if place.is_file():
            return hashlib.sha256(place.read_bytes()).digest()
    raise SetIncomplete(f"{folder} holds no {path}, which a question asks for.")


def _question(entry: dict[str, Any], ids: dict[str, UUID]) -> Question:
    answers = entry.get("answers")
    spans = tuple((answer["start"], answer["end"]) for answer in answers) if answers else None
    text = entry["question"]
    kind = entry.get("type") or question_type(text)
    return Question(text, {ids[path]: spans for path in _paths(entry)}, entry.get("language", ""), kind)


def evaluate(questions: Sequence[Question], owner_id: int) -> Iterator[Run]:
    """Ask every question in every mode, within the set's own documents; yields the run so far after each."""
    documents = tuple({document for question in questions for document in question.spans})
    scope = Scope(owner_id, documents=documents)
    run = Run()
    for question in questions:
        with run.timed("the question's vector"):
            vector = encoder().embed_query(question.text)
        for mode, score in run.scores.items():
            with run.timed(NAMES[mode]):
                hits = rank(scope, question.text, vector, DEPTH, mode)
            score.ranks.append(question.first_hit(hits))
        yield run
