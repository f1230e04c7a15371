"""The engine without a model: it quotes the sentences that answer best."""

from collections.abc import Iterator, Sequence

from chat.answers.writer import Writer
from chat.bodies import QUOTING_ENGINE
from chat.engines.answer_types import likely_answer
from chat.engines.base import Request
from chat.engines.candidates import Candidate, candidates
from chat.engines.evidence import is_answered
from chat.engines.phrases import nothing_found

MOST_QUOTED = 3
CLOSE_TO_BEST = 0.3
"""A further sentence is quoted when its score is this close to the best one's."""
LIMITS = {"short": (1, 0.0), "full": (6, 0.5)}
"""The same two by style; ``quotes`` is what this engine does anyway."""


class ExtractiveEngine:
    """Quotes one to three sentences, in the order of the documents, or says that there is no answer."""

    name = QUOTING_ENGINE
    model = ""
    passages_wanted = 6

    def answer(self, request: Request, writer: Writer) -> None:
        found = candidates(request)
        if not is_answered(request, found):
            writer.write(nothing_found(request.question))
            return
        best, answer = found[0], answer_in(request.query, found[0])
        for marker, quote in enumerate(quotes(found, request.style), 1):
            self._quote(writer, marker, quote, answer if best in quote else None)

    def _quote(self, writer: Writer, marker: int, quote: Sequence[Candidate], answer: tuple[int, int] | None) -> None:
        first, last = quote[0], quote[-1]
        hit = first.passage.hit
        text = hit.text[first.start - hit.start : last.end - hit.start]
        writer.write(f"{text} [{marker}]" if marker == 1 else f"\n\n{text} [{marker}]")
        writer.cite(marker, first.passage, first.start, last.end, answer)


def answer_in(question: str, best: Candidate) -> tuple[int, int] | None:
    """Where the best sentence holds what is asked for, in its document's offsets."""
    span = likely_answer(question, best.text)
    return (best.start + span[0], best.start + span[1]) if span else None


def quotes(found: Sequence[Candidate], style: str = "") -> Iterator[list[Candidate]]:
    """The best sentences in the order of the documents, neighbours together."""
    most, close = LIMITS.get(style, (MOST_QUOTED, CLOSE_TO_BEST))
    best = [c for c in found[:most] if c.score >= found[0].score - close]
    best.sort(key=lambda candidate: (candidate.passage.number, candidate.start))
    run: list[Candidate] = []
    for candidate in best:
        if run and not _adjoin(run[-1], candidate):
            yield run
            run = []
        run.append(candidate)
    if run:
        yield run


def _adjoin(before: Candidate, after: Candidate) -> bool:
    """Whether nothing but white space is between two sentences of the same passage."""
    hit = before.passage.hit
    same = before.passage.number == after.passage.number
    return same and not hit.text[before.end - hit.start : after.start - hit.start].strip()
