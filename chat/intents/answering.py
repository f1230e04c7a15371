"""Answers that no search for passages gives: about the library, a document as a whole, several side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chat.answers.aside import aside
from chat.answers.draft import Draft
from chat.answers.passages import Passage
from chat.answers.question import Question
from chat.answers.retrieval import reading
from chat.answers.running import RunningAnswer, StopFlag
from chat.answers.writer import Writer
from chat.bodies import QUOTING_ENGINE
from chat.engines.base import Engine, Request
from chat.intents.naming import called, in_scope, only_document
from chat.intents.recognition import Intent, Kind, recognised
from chat.intents.replies import reply
from chat.intents.whole import MOST_CHUNKS, Sentence, main_sentences, read_document
from chat.models import Citation
from documents.models import Document
from documents.search import Hit, Scope

LIBRARY_ENGINE = "library"
"""The engine of an answer that the site itself gives about the library."""
ABOUT_LIBRARY = frozenset({Kind.GREETING, Kind.THANKS, Kind.ABILITIES, Kind.LIST, Kind.COUNT, Kind.IN_WORK})
CHATTER = frozenset({Kind.GREETING, Kind.THANKS, Kind.ABILITIES})
SENTENCES = 7
"""Of a document's summary; fewer of each where there are several."""
FEWEST_SENTENCES = 3
MOST_DOCUMENTS = 8
"""That an overview quotes from: the newest."""
PASSAGES_AT_ONCE = 12
"""Passages that a model is shown in one prompt: about 2,600 tokens."""
MOST_PARTS = 6
MOST_OF_PART = 8
"""Sentences that each part may give to the whole."""


@dataclass(frozen=True)
class Wish:
    """An answer that is known already (``text``), or what it is to be made of."""

    intent: Intent
    text: str = ""
    documents: tuple[tuple[Hit, ...], ...] = ()


def wished(question: Question, engine: Engine, stop: StopFlag) -> Wish | None:
    """What the question wishes beyond a search; None where it is to be searched for.

    Greetings go to a model that has instructions of its own.
    """
    intent = recognised(question.text)
    if intent is None or (intent.kind in CHATTER and question.instructions and engine.name != QUOTING_ENGINE):
        return None
    with reading(stop):
        return _found(intent, question)


def _found(intent: Intent, question: Question) -> Wish | None:
    if intent.kind in ABOUT_LIBRARY:
        return Wish(intent, reply(intent, question.scope))
    meant = documents_meant(intent, question.scope)
    most = MOST_CHUNKS // max(1, len(meant))
    texts = [hits for document in meant if (hits := read_document(question.scope.owner_id, document, most))]
    if not texts or len(texts) < len(intent.names):
        return None
    return Wish(intent, documents=tuple(tuple(hits) for hits in texts))


def documents_meant(intent: Intent, scope: Scope) -> list[UUID]:
    """The named ones, the only one, or for an overview the newest; none where it is not clear."""
    if intent.names:
        named = [called(scope, name) for name in intent.names]
        return [document for document in named if document] if all(named) else []
    if intent.kind is Kind.ABOUT:
        newest = in_scope(scope).filter(status=Document.Status.PROCESSED).order_by("-uploaded_at", "id")
        return list(newest.values_list("id", flat=True)[:MOST_DOCUMENTS])
    only = only_document(scope)
    return [only] if only else []


def passages_of(wish: Wish, engine: Engine) -> list[Passage]:
    """The sentences to quote, or for a model passages from all of each document; numbered in order."""
    if engine.name == QUOTING_ENGINE:
        found = [entry.as_passage_text for hits in wish.documents for entry in _chosen(wish, hits)]
    else:
        share = PASSAGES_AT_ONCE * MOST_PARTS // max(1, len(wish.documents))
        found = [hit for hits in wish.documents for hit in spread(hits, share)]
    return [Passage(number, hit) for number, hit in enumerate(found, 1)]


def _chosen(wish: Wish, hits: Sequence[Hit]) -> list[Sentence]:
    return main_sentences(hits, SENTENCES if len(wish.documents) == 1 else FEWEST_SENTENCES)


def spread(hits: Sequence[Hit], most: int) -> list[Hit]:
    """So many of them, evenly."""
    if len(hits) <= most:
        return list(hits)
    return [hits[number * len(hits) // most] for number in range(most)]


def write_wish(
    wish: Wish, question: Question, engine: Engine, answer: RunningAnswer, draft: Draft, writer: Writer
) -> None:
    """Write the answer. Raises EngineError, and the writer's Stopped."""
    if wish.text:
        draft.engine, draft.model = LIBRARY_ENGINE, ""
        writer.write(wish.text)
    elif engine.name == QUOTING_ENGINE:
        _quote(draft.passages, writer)
    else:
        passages = _condensed(question, engine, answer, draft)
        engine.answer(_request(question, passages), writer)


def _quote(passages: Sequence[Passage], writer: Writer) -> None:
    document = None
    for passage in passages:
        space = "" if document is None else " " if passage.hit.document_id == document else "\n\n"
        document = passage.hit.document_id
        writer.write(f"{space}{passage.text} [{passage.number}]")
        writer.cite(passage.number, passage, passage.hit.start, passage.hit.end)


def _condensed(question: Question, engine: Engine, answer: RunningAnswer, draft: Draft) -> list[Passage]:
    """The passages where they fit into a prompt; else the sentences that the model's answers from each part cite.

    What goes into the last prompt are the documents' own words again, as passages: notes that a file has talked the
    model into never come to stand among its instructions.
    """
    if len(draft.passages) <= PASSAGES_AT_ONCE:
        return draft.passages
    cited: list[Hit] = []
    for first in range(0, len(draft.passages), PASSAGES_AT_ONCE):
        part = draft.passages[first : first + PASSAGES_AT_ONCE]
        writer, notes = aside(answer.owner_id, answer.stop)
        engine.answer(_request(question, part), writer)
        writer.finish()
        cited += [_cut(part, citation) for citation in notes.citations[:MOST_OF_PART]]
    draft.note_time("parts")
    return [Passage(number, hit) for number, hit in enumerate(cited, 1)] or draft.passages[:PASSAGES_AT_ONCE]


def _cut(part: Sequence[Passage], citation: Citation) -> Hit:
    """The passage that a citation is from, cut to what it cites."""
    hit = next(
        passage.hit
        for passage in part
        if passage.hit.document_id == citation.document_id and passage.hit.start <= citation.start < passage.hit.end
    )
    return replace(hit, text=citation.quote, start=citation.start, end=citation.end)


def _request(question: Question, passages: Sequence[Passage]) -> Request:
    return Request(
        question.text, question.text, tuple(passages), instructions=question.instructions, style=question.style
    )
