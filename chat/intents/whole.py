"""A document as a whole: its first sentences and those nearest to what it is about, spread over its length.

The centroid of tf-idf vectors (Radev and others, 2004), over a sample of the chunks where a document has more than can
be read in a fraction of a second: its beginning, and evenly spaced ones.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chat.answers.passages import Passage
from chat.engines.candidates import sentence_spans
from chat.engines.words import terms
from documents.models import Chunk, Document
from documents.search import Hit

MOST_CHUNKS = 240
FIRST_CHUNKS = 8
SHORTEST, LONGEST = 40, 400
"""Characters of a sentence that may stand in a summary; half of them where a script has no spaces."""
ALIKE = 0.5
"""Of the words of a sentence: what says the same again is left out."""
REPRESENTATIVE_WORDS = 60


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document, in its offsets."""

    hit: Hit
    start: int
    end: int
    words: frozenset[str]

    @property
    def as_passage_text(self) -> Hit:
        """The chunk cut to the sentence."""
        offset = self.hit.start
        text = self.hit.text[self.start - offset : self.end - offset]
        return replace(self.hit, text=text, start=self.start, end=self.end)


def read_document(owner_id: int, document_id: UUID, most: int = MOST_CHUNKS) -> list[Hit]:
    """Its chunks in order, or a sample of them; none while it has no text."""
    document = Document.objects.filter(owner_id=owner_id, id=document_id).first()
    if document is None:
        return []
    chunks = Chunk.objects.of(document).listed()
    if document.chunk_count > most:
        chunks = chunks.filter(position__in=sampled_positions(document.chunk_count, most))
    return [_hit(document, chunk) for chunk in chunks]


def sampled_positions(count: int, most: int) -> list[int]:
    """The first ones, and then evenly spaced ones."""
    spread = most - FIRST_CHUNKS
    step = (count - FIRST_CHUNKS) / spread
    return [*range(FIRST_CHUNKS), *(FIRST_CHUNKS + int(n * step) for n in range(spread))]


def _hit(document: Document, chunk: Chunk) -> Hit:
    return Hit(
        document.id,
        document.filename,
        chunk.page,
        chunk.position,
        chunk.start,
        chunk.end,
        chunk.text,
        tuple(chunk.headings),
        chunk.title,
        chunk.language,
        score=0.0,
        words=0.0,
        meaning=0.0,
        kind=chunk.kind,
        page_kind=document.page_kind,
        page_label=chunk.page_label,
        table_header=chunk.table_header,
    )


def main_sentences(hits: Sequence[Hit], wanted: int) -> list[Sentence]:
    """The first proper sentence, and of each stretch of the document the most central one, in order."""
    found = list({entry.as_passage_text.text: entry for entry in reversed(_sentences(hits))}.values())[::-1]
    if len(found) <= wanted:
        return found
    weights = centroid(found)
    chosen = [found[0]]
    for number in range(1, wanted):
        stretch = found[len(found) * (number - 1) // (wanted - 1) : len(found) * number // (wanted - 1)]
        fresh = [entry for entry in stretch if not any(_alike(entry, other) for other in chosen)]
        if fresh:
            chosen.append(max(fresh, key=lambda entry: centrality(entry, weights)))
    return sorted(chosen, key=lambda entry: entry.start)


def _sentences(hits: Sequence[Hit]) -> list[Sentence]:
    """Those of running text; where there is none (sheets, slides), all."""
    prose = [hit for hit in hits if hit.kind == "paragraph"] or list(hits)
    found: list[Sentence] = []
    for hit in prose:
        for start, end in sentence_spans(Passage(0, hit)):
            if _is_telling(hit.text[start:end]) and not (found and hit.start + start < found[-1].end):
                words = frozenset(terms(hit.text[start:end], hit.language))
                found.append(Sentence(hit, hit.start + start, hit.start + end, words))
    return found or [Sentence(hit, hit.start, hit.end, frozenset()) for hit in hits[:1]]


def _is_telling(text: str) -> bool:
    least = SHORTEST if text.isascii() else SHORTEST // 2
    return least <= len(text) <= LONGEST and "\n" not in text


def centroid(sentences: Sequence[Sentence]) -> dict[str, float]:
    """The words that the document is about, with their weights."""
    counts = Counter(word for entry in sentences for word in entry.words)
    size = len(sentences)
    weights = {word: count * math.log(1 + size / count) for word, count in counts.items()}
    return dict(sorted(weights.items(), key=lambda item: -item[1])[:REPRESENTATIVE_WORDS])


def centrality(sentence: Sentence, weights: Mapping[str, float]) -> float:
    """How much of what the document is about it says, for its length."""
    return sum(weights.get(word, 0.0) for word in sentence.words) / math.sqrt(len(sentence.words) + 8)


def _alike(one: Sentence, other: Sentence) -> bool:
    shared = len(one.words & other.words)
    return shared > ALIKE * max(1, min(len(one.words), len(other.words)))
