"""What visitors ask: a skewed set that comes again and again, and questions that nobody has asked before.

About the topics that `manage.py seed` fills libraries with.
"""

import random
from collections.abc import Sequence
from itertools import accumulate

from chat.seeding.texts import PLACES, TOPICS, VERBS

SHORT = ("{noun} {place} {number}", "{noun} and {other}", "{place} {noun} review")
USUAL = (
    "What does the report say about the {noun} in {place}?",
    "When was the {noun} of {place} {verb}, and who asked for it?",
    "How does the {noun} depend on the {other} after {number} months?",
    "Why was the {noun} {verb} so late, and what became of the {other}?",
)
LONG = (
    "We are preparing a summary for the committee of {place} and need to know what the documents say about the {noun}: "
    "whether it was {verb} before or after the {other}, by how many percent the figures have changed in the last "
    "{number} years, who asked for the review, and which notice went to the offices. Please name the passages."
)
LENGTHS = ((SHORT, 0.2), (USUAL, 0.7), ((LONG,), 0.1))
"""3 to 60 words, and how often."""


def common_questions(count: int, seed: int = 1) -> list[str]:
    """So many different questions, the same at every call."""
    chooser = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[_question(chooser)] = None
    return list(found)


def _question(chooser: random.Random) -> str:
    kinds, weights = zip(*LENGTHS, strict=True)
    template = chooser.choice(chooser.choices(kinds, weights)[0])
    noun, other = chooser.sample(chooser.choice(list(TOPICS.values())), 2)
    place, verb = chooser.choice(PLACES), chooser.choice(VERBS)
    return template.format(noun=noun, other=other, place=place, verb=verb, number=chooser.randrange(2, 99))


class Asked:
    """Draws questions: the k-th common one with a weight of 1/k, a share with a number that makes it new."""

    def __init__(self, common: Sequence[str], fresh: float, chooser: random.Random) -> None:
        self.common, self.fresh, self.chooser = common, fresh, chooser
        self.weights = list(accumulate(1 / rank for rank in range(1, len(common) + 1)))

    def draw(self) -> str:
        question: str = self.chooser.choices(self.common, cum_weights=self.weights)[0]
        if self.chooser.random() < self.fresh:
            return f"{question} (case {self.chooser.randrange(10**9)})"
        return question
