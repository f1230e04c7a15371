"""How alike sentences are by meaning, as far as the encoder can tell."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable


def cosines(claim: str, sentences: Sequence[str]) -> NDArray[np.float32] | None:
    """The cosine of a claim and each sentence; None when the encoder is away."""
    try:
        alike: NDArray[np.float32] = encoder().embed_sentences(list(sentences)) @ encoder().embed_query(claim)
    except (EncoderUnavailable, EncoderRejected):
        return None
    return alike
