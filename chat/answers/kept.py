"""Whole answers that are given again, as long as nothing that made them has changed."""

import json
from dataclasses import asdict
from typing import Any
from uuid import UUID

from chat.answers.draft import Draft
from chat.answers.passages import Passage
from chat.answers.question import Question
from chat.answers.retrieval import reading
from chat.answers.running import StopFlag
from chat.answers.writer import Writer
from chat.caching import ANSWERS
from chat.engines.base import Engine
from chat.models import Citation, Message
from documents.search.kept import as_json, hit_of
from ragsite.caching import fill, look
from ragsite.caching.reading import Look
from ragsite.caching.release import release

COUNTED = ("query", "prompt_tokens", "completion_tokens", "finish_reason", "support")
CITED = (
    *("marker", "filename", "page", "page_kind", "page_label", "headings", "table_header", "start", "end"),
    *("answer_start", "answer_end", "quote", "verified"),
)


def look_up(question: Question, engine: Engine, stop: StopFlag) -> Look[Any]:
    """The answer to the same question, if it is there; else the place for it."""
    asked = json.dumps(
        {
            "text": question.text,
            "scope": [_strings(question.scope.documents), _strings(question.scope.collections)],
            "instructions": question.instructions,
            "style": question.style,
            "engine": [engine.name, engine.model, question.language_model],
            "history": [asdict(turn) for turn in question.history],
            "release": release(),
        }
    )
    with reading(stop):
        return look(ANSWERS, owner=question.scope.owner_id, asked=asked)


def _strings(ids: tuple[UUID, ...] | None) -> list[str] | None:
    return None if ids is None else sorted(map(str, ids))


def recall(kept: dict[str, Any], draft: Draft) -> None:
    """The kept answer's passages and counts into the draft."""
    draft.cached = True
    for name in COUNTED:
        setattr(draft, name, kept[name])
    draft.passages = [Passage(number, hit_of(hit)) for number, hit in kept["passages"]]


def write_again(kept: dict[str, Any], writer: Writer) -> None:
    """Its words and citations, for the readers. What was deleted at this moment is left out when it is stored."""
    writer.write(kept["text"])
    for entry in kept["citations"]:
        writer.cite_again(Citation(**{**entry, "document_id": UUID(entry["document_id"])}))


def remember(seen: Look[Any], draft: Draft) -> None:
    """Keep a whole answer, unless something that made it has changed since it was looked for."""
    if seen.stamps is None or draft.status != Message.Status.COMPLETE or not draft.text:
        return
    citations = [{name: getattr(entry, name) for name in CITED} for entry in draft.citations]
    for entry, citation in zip(citations, draft.citations, strict=True):
        entry["document_id"] = str(citation.document_id)
    passages = [[passage.number, as_json(passage.hit)] for passage in draft.passages]
    counts = {name: getattr(draft, name) for name in COUNTED}
    fill(seen, {"text": draft.text, "citations": citations, "passages": passages, **counts})
