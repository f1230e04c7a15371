"""From the markers in a model's text to citations."""

import re
from collections.abc import Mapping

from chat.answers.passages import Passage
from chat.answers.writer import Writer
from chat.engines.candidates import lexical_candidates

MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,;]\s*\d{1,3})*)[\]】]")
LONGEST_MARKER = 40
LONGEST_CLAIM = 600
_BETWEEN_MARKERS = " \t\n.,;:"


class MarkerReader:
    """Cites for each marker, once, the sentence of its passage that supports the words before the marker best.

    Numbers of passages that do not exist are invented and cite nothing.
    """

    def __init__(self, passages: Mapping[int, Passage], writer: Writer) -> None:
        self._passages = passages
        self._writer = writer
        self._text = ""
        self._looked_at = 0
        self._claim_from = 0
        self._claim = ""
        self._cited: set[int] = set()

    def feed(self, text: str) -> None:
        """Take the next piece of the answer; a marker may be cut anywhere by the end of it."""
        self._text += text
        for match in MARKER.finditer(self._text, self._looked_at):
            between = self._text[self._claim_from : match.start()]
            if between.strip(_BETWEEN_MARKERS):
                self._claim = between[-LONGEST_CLAIM:]
            self._claim_from = self._looked_at = match.end()
            for number in re.findall(r"\d+", match[1]):
                self._cite(int(number))
        self._looked_at = max(self._looked_at, len(self._text) - LONGEST_MARKER)

    def _cite(self, number: int) -> None:
        passage = self._passages.get(number)
        if passage is None or number in self._cited:
            return
        self._cited.add(number)
        best = max(lexical_candidates(self._claim, [passage]), key=lambda candidate: candidate.words)
        self._writer.cite(number, passage, best.start, best.end)
