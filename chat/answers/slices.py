"""How much of an answer is moved at once: the fewer steps, the less they cost, and the longer readers wait for each."""

SLICE_SECONDS = 0.06
LONGEST_SLICE_SECONDS = 0.15
MANY = 25
"""Answers in this process above which slices grow: a step costs about the same however much it moves."""


def slice_seconds(answers: int) -> float:
    """How long a slice lasts while this process writes so many answers."""
    return min(LONGEST_SLICE_SECONDS, SLICE_SECONDS * max(1.0, answers / MANY))
