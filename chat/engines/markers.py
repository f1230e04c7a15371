"""From the markers in a model's text to citations."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chat.answers.passages import Passage
from chat.answers.writer import Writer
from chat.engines.candidates import Candidate
from chat.engines.likeness import cosines, cosines_of
from chat.engines.reading import Reading, ReadPassage

MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,;]\s*\d{1,3})*)[\]】]")
"""As an answer shows them."""
_WRITTEN = re.compile(
    r"[ \t]*[\[【](?:\^|passages?\s*|sources?\s*)?(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)(?:†[^\]】\n]{0,20})?[\]】]", re.I
)
"""As models write them, with the blanks before."""
_UNFINISHED = re.compile(r"[ \t]*(?:[\[【][^\[\]【】\n]{0,40})?$")
_CODE_FENCE = re.compile(r"```|~~~")
LONGEST_CLAIM = 600
ENOUGH_WORDS = 0.4
"""Of the claim's words in a sentence; with fewer, meaning decides which sentence it is."""
MOST_COMPARED = 12
_BETWEEN_MARKERS = " \t\n.,;:"


class MarkerReader:
    """Writes the answer with its markers made citations: each points at one sentence, numbered as they come.

    ``[3]`` stands for passage 3 in the model's text. Shown is the number of the citation: the sentence of that passage
    that supports the words before the marker best. Numbers of passages that do not exist are invented: they are left
    out. In code, brackets are the code's own.
    """

    def __init__(self, passages: Mapping[int, Passage], writer: Writer, reading: Reading) -> None:
        self._passages = passages
        self._reading = reading
        self._writer = writer
        self._held = ""
        self._shown = ""
        self._claim_from = 0
        self._claim = ""
        self._markers: dict[tuple[int, int, int], int] = {}
        self.sources: dict[int, Passage] = {}
        """The passage that each marker shown points into."""
        self.invented = 0

    def feed(self, text: str) -> None:
        """Take the next piece of the answer; what may become a marker is held back until it is one or not."""
        self._held += text
        self._read(_UNFINISHED.search(self._held))

    def finish(self) -> None:
        """Write what was held back."""
        self._read(None)

    def _read(self, unfinished: re.Match[str] | None) -> None:
        end = unfinished.start() if unfinished else len(self._held)
        place = 0
        for match in _WRITTEN.finditer(self._held, 0, end):
            self._say(self._held[place : match.start()])
            if in_code(self._shown):
                self._say(match[0])
            else:
                self._point(re.findall(r"\d+", match[1]), match[0])
            place = match.end()
        self._say(self._held[place:end])
        self._held = self._held[end:]

    def _say(self, text: str) -> None:
        if text:
            self._shown += text
            self._writer.write(text)

    def _point(self, numbers: list[str], written: str) -> None:
        """Cite for each number of a passage that exists, right after what rests on it."""
        between = self._shown[self._claim_from :]
        if between.strip(_BETWEEN_MARKERS):
            self._claim = between[-LONGEST_CLAIM:]
        known = [self._passages[number] for number in map(int, numbers) if number in self._passages]
        self.invented += len(numbers) - len(known)
        blank = written[: len(written) - len(written.lstrip())]
        shown: set[int] = set()
        for passage in known:
            best = best_sentence(self._claim, self._reading.of(passage))
            key = (passage.number, best.start, best.end)
            marker = self._markers.setdefault(key, len(self._markers) + 1)
            if marker not in shown:
                self._say(f"{'' if shown else blank}[{marker}]")
                shown.add(marker)
            if marker not in self.sources:
                self.sources[marker] = passage
                self._writer.cite(marker, passage, best.start, best.end)
        self._claim_from = len(self._shown)


def best_sentence(claim: str, passage: ReadPassage) -> Candidate:
    """The sentence of a passage that says most of what a claim does: by words, or, where they tell little, meaning.

    An answer in another language than its passage shares hardly a word with it.
    """
    found = sorted(passage.candidates(claim), key=lambda candidate: -candidate.words)
    if found[0].words >= ENOUGH_WORDS or len(found) == 1 or not claim.strip():
        return found[0]
    near = found[:MOST_COMPARED]
    alike = _alike(claim, near, passage)
    return near[int(alike.argmax())] if alike is not None else found[0]


def _alike(claim: str, near: Sequence[Candidate], passage: ReadPassage) -> NDArray[np.float32] | None:
    """Their cosines, by the vectors that were kept with the passage where it has them: none is computed then."""
    kept = [sentence.vector for candidate in near if (sentence := passage.vector_of(candidate))]
    if len(kept) == len(near):
        return cosines_of(claim, kept)
    return cosines(claim, [candidate.text for candidate in near])


def in_code(before: str) -> bool:
    """Whether what follows on this Markdown is code: in an open fence, or behind an odd backtick of its line."""
    if len(_CODE_FENCE.findall(before)) % 2:
        return True
    return before.rpartition("\n")[2].replace("```", "").count("`") % 2 == 1
