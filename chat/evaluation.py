"""How well questions are answered: what the quotes hold, what is refused, what rewriting a follow-up wins.

Questions are asked as the site asks them, within the set's own documents; nothing is stored. Tricky questions are those
of the set without an answer, other ones are its answerable ones asked without the document that answers them.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import UUID

from chat.answers import events, producer
from chat.answers.following import follow_log
from chat.answers.followups import self_contained
from chat.answers.question import Question
from chat.answers.running import RunningAnswer
from chat.engines import Turn
from chat.engines.evidence import calibrated_on
from chat.engines.phrases import NOTHING_FOUND
from documents.evaluation import SetIncomplete, documents_of
from documents.search import Hit, Mode, Scope
from documents.search.ranking import rank
from ragsite.embedding import encoder
from ragsite.fields import new_id

Entry = dict[str, Any]
DEPTH = 5
WAYS = ("alone", "rewritten", "self_contained")


@dataclass
class Outcomes:
    """What came of a kind of question: shares over ``asked``."""

    asked: int = 0
    refused: int = 0
    held: int = 0

    def share(self, count: int) -> float:
        return count / self.asked if self.asked else 0.0


@dataclass
class Answers:
    """Outcomes of answerable, tricky and other questions, and seconds by part.

    Each kind stands once more as ``…, held out``: about documents that the refusals were not calibrated on.
    """

    by_kind: dict[str, Outcomes] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)


def note_seconds(seconds: dict[str, list[float]], timings: dict[str, float]) -> None:
    for part, spent in timings.items():
        seconds.setdefault(part, []).append(spent)


def percentile(values: Sequence[float], share: int) -> float:
    """``share`` in percent."""
    return quantiles(values, n=100)[share - 1] if len(values) > 1 else values[0]


def entries_of(folder: Path) -> list[Entry]:
    """The questions of a set, answerable or not. Raises SetIncomplete."""
    try:
        return [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise SetIncomplete(f"{folder} holds no questions.jsonl ({error.strerror}).") from error


def asked_in_other_words(folder: Path, wordings: Path) -> list[Entry]:
    """The questions that a file of wordings (`set`, `id`, `question`) has for this set, in its words."""
    given = [json.loads(line) for line in wordings.read_text(encoding="utf-8").splitlines()]
    words = {entry["id"]: entry["question"] for entry in given if entry["set"] == folder.name}
    return [{**entry, "question": words[entry["id"]]} for entry in entries_of(folder) if entry["id"] in words]


def asked_of(
    folder: Path, owner_id: int, limit: int | None, wordings: Path | None = None
) -> list[tuple[Entry, str, Scope]]:
    """Each question with its kind and scope; with ``limit`` a sample, always the same. Raises SetIncomplete."""
    every = entries_of(folder)
    entries = asked_in_other_words(folder, wordings) if wordings else [entry for entry in every if "document" in entry]
    ids = documents_of(folder, owner_id, {entry["document"] for entry in every})
    whole = Scope(owner_id, documents=tuple(ids.values()))
    asked = [(entry, "answerable" if entry["answerable"] else "tricky", whole) for entry in entries]
    for entry in (entry for entry in entries if entry["answerable"]):
        rest = tuple(document for path, document in ids.items() if path != entry["document"])
        asked.append((entry, "other", Scope(owner_id, documents=rest)))
    random.Random(0).shuffle(asked)  # noqa: S311
    return asked[:limit]


def answers(folder: Path, owner_id: int, limit: int | None = None, wordings: Path | None = None) -> Iterator[Answers]:
    """The outcomes so far, after each question."""
    found = Answers()
    ids: dict[str, UUID] | None = None
    for entry, kind, scope in asked_of(folder, owner_id, limit, wordings):
        ids = ids or documents_of(folder, owner_id, {entry["document"] for entry in entries_of(folder)})
        message = answered(owner_id, Question(entry["question"], scope))
        for counted in (kind, f"{kind}, held out")[: 1 + (entry["document"] not in calibrated_on())]:
            _count(found.by_kind.setdefault(counted, Outcomes()), message, entry, str(ids[entry["document"]]))
        note_seconds(found.seconds, message["timings"])
        yield found


def answered(owner_id: int, question: Question) -> dict[str, Any]:
    """The answer as the API gives it."""
    answer = RunningAnswer(new_id(), owner_id, stored=False)
    with producer.reserved() as slot:
        slot.produce(answer, question)
    last = [event for batch in follow_log(answer.log) for event in batch][-1]
    if last.name == events.ERROR:
        raise SetIncomplete(f"An answer failed: {last.data['detail']}")
    message: dict[str, Any] = last.data["message"]
    return message


def _count(outcomes: Outcomes, message: dict[str, Any], entry: Entry, document: str) -> None:
    outcomes.asked += 1
    outcomes.refused += message["content"] in NOTHING_FOUND.values()
    outcomes.held += any(
        citation["document"] == document and citation["start"] <= span["start"] and span["end"] <= citation["end"]
        for citation in message["citations"]
        for span in entry.get("answers", ())
    )


def follow_ups(file: Path, data: Path, owner_id: int) -> dict[str, dict[str, tuple[float, float]]]:
    """By set and way of asking the second question: how often its passage is first, and among the first five."""
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {
        name: _by_way([entry for entry in entries if entry["set"] == name], data / name, owner_id)
        for name in dict.fromkeys(entry["set"] for entry in entries)
    }


def _by_way(entries: Sequence[Entry], folder: Path, owner_id: int) -> dict[str, tuple[float, float]]:
    paths = {path for entry in entries_of(folder) for path in _paths(entry)}
    ids = documents_of(folder, owner_id, paths)
    scope = Scope(owner_id, documents=tuple(ids.values()))
    found = {}
    for way in WAYS:
        ranks = [_rank(scope, query_of(entry, way), entry, ids) for entry in entries]
        found[way] = tuple(sum(r is not None and r <= k for r in ranks) / len(ranks) for k in (1, DEPTH))
    return found  # type: ignore[return-value]


def _paths(entry: Entry) -> list[str]:
    return [entry["document"]] if "document" in entry else entry["documents"]


def query_of(entry: Entry, way: str) -> str:
    """The second question as it stands, as the rules rewrite it, or whole."""
    if way == "rewritten":
        history = (Turn("user", entry["first"]), Turn("assistant", entry["first_answer"]))
        return self_contained(entry["question"], history)
    query: str = entry["question"] if way == "alone" else entry["self_contained"]
    return query


def _rank(scope: Scope, query: str, entry: Entry, ids: dict[str, UUID]) -> int | None:
    hits = rank(scope, query, encoder().embed_query(query), DEPTH, Mode.FUSED)
    return next((place for place, hit in enumerate(hits, 1) if _is_found(hit, entry, ids)), None)


def _is_found(hit: Hit, entry: Entry, ids: dict[str, UUID]) -> bool:
    if hit.document_id not in {ids[path] for path in _paths(entry)}:
        return False
    spans = entry.get("answers")
    return spans is None or any(hit.start <= span["start"] and span["end"] <= hit.end for span in spans)
