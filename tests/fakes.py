"""Stand-ins for speed and for faults. The real parts have tests of their own."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from ragsite.encoder.client import EncoderUnavailable

DIMENSIONS = 384


class FakeEncoder:
    """Vectors from the words of a text: texts that share words are near, different texts differ."""

    dimensions = DIMENSIONS
    model = "multilingual-e5-small"

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.down = False

    def embed_query(self, text: str) -> np.ndarray:
        self._check()
        return self._vector(text)

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        self._check()
        self.embedded += texts
        return np.stack([self._vector(text) for text in texts])

    def embed_sentences(self, texts: Sequence[str]) -> np.ndarray:
        self._check()
        return np.stack([self._vector(text) for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [max(1, len(text) // 4) for text in texts]

    def _check(self) -> None:
        if self.down:
            raise EncoderUnavailable("The fake encoder is down.")

    def _vector(self, text: str) -> np.ndarray:
        vector = np.full(DIMENSIONS, 1e-3, dtype=np.float32)
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(digest[:4], "big") % DIMENSIONS] += 1.0
        return vector / np.linalg.norm(vector)
