"""How the rankings by words and by meaning become one.

Neither scores are on a scale of their own: how much of a question's words a passage can hold depends on the question
and its language, and a model's cosines lie in some narrow range (e5's between 0.75 and 0.95). So each ranking says how
near a chunk comes to the best that it found for this very question: words as a share of the best chunk's, meaning
by where the cosine lies between the 50th and the best. That needs no constant of a model or a language
(docs/quality.md has what else was tried). A little is added for the document: one with many passages that fit is more
likely the one that is asked about, which tells twelve reports with the same phrases apart.
"""

from enum import StrEnum

FEW_WORDS = 0.1
"""Added to the best chunk's share of the words: where all have few (another language), words count less."""
SMALL_SPREAD = 0.01
"""Added to the spread of the cosines: where all are as near, meaning tells nothing."""


DOCUMENT_WEIGHT = 0.3
"""Of the mean of a document's best passages, beside the passage's own score. 0.2 to 0.4 are about equal."""
DOCUMENT_HITS = 10


class Mode(StrEnum):
    """What ranks the chunks."""

    FUSED = "fused"
    WORDS = "words"
    MEANING = "meaning"


WEIGHTS: dict[Mode, tuple[float, float]] = {
    Mode.FUSED: (0.57, 0.43),
    Mode.WORDS: (1.0, 0.0),
    Mode.MEANING: (0.0, 1.0),
}
"""Weights of words and meaning. 0.5 to 0.6 for words are about equal in the languages tried."""
