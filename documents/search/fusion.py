"""How the rankings by words and by meaning become one."""

from enum import StrEnum

MEANING_WEIGHT = 4.0
"""Weights of 3 to 6 are about equal in every language tried. It belongs to e5's narrow range of cosines."""


class Mode(StrEnum):
    """What ranks the chunks."""

    FUSED = "fused"
    WORDS = "words"
    MEANING = "meaning"


WEIGHTS: dict[Mode, tuple[float, float]] = {
    Mode.FUSED: (1.0, MEANING_WEIGHT),
    Mode.WORDS: (1.0, 0.0),
    Mode.MEANING: (0.0, 1.0),
}
"""Weights of the words' score (0 to about 1) and of the cosine."""
