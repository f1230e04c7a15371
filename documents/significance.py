"""Whether one way of searching is better than another, or was only lucky with these questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 10_000
AT_ONCE = 500
"""Samples drawn at once: a few thousand questions and these take some megabytes."""


@dataclass(frozen=True)
class Comparison:
    """The mean difference of paired measures and the interval that holds 95 % of the resampled ones."""

    difference: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        verdict = "significant" if self.is_significant else "not significant"
        return f"{self.difference:+.4f} (95 %: {self.low:+.4f} to {self.high:+.4f}), {verdict}"


def paired_bootstrap(ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Compare measures of the same questions in the same order (Efron and Tibshirani, 1993; always the same samples).

    Raises ValueError when there are not as many of both.
    """
    differences = np.array([our - their for our, their in zip(ours, theirs, strict=True)])
    choose = np.random.default_rng(0)
    means = [
        differences[choose.integers(len(differences), size=(AT_ONCE, len(differences)))].mean(axis=1)
        for _ in range(SAMPLES // AT_ONCE)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Comparison(float(differences.mean()), float(low), float(high))
