"""How near a text is to questions about anything.

Filler ("Lorem ipsum …"), scraps and gibberish are near to every question: their cosines say nothing. What counts is how
much nearer a sentence is to the question that was asked than to questions about other things.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderClient

QUESTIONS = (
    "What is the height of the mountain?",
    "Who wrote the song?",
    "How do I bake bread?",
    "When was the company founded?",
    "Why did the engine fail?",
    "What does the contract say about notice?",
    "Where do these birds live?",
    "How much does the ticket cost?",
    "Wie hoch ist der Berg?",
    "Wer hat das Lied geschrieben?",
    "Combien coûte le billet ?",
    "¿Cuándo se fundó la empresa?",
    "この鳥はどこに住んでいますか？",
    "合同里怎么说？",
    "Почему двигатель не работает?",
)
"""About things that have nothing in common, in several languages: one of them alone weighs little in the mean."""


def background() -> NDArray[np.float32]:
    """The mean of their vectors: its product with a text's vector is the mean of the cosines.

    Computed once in a process. Raises what the encoder raises.
    """
    return _of(encoder())


@lru_cache(maxsize=2)
def _of(client: EncoderClient) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.mean([client.embed_query(question) for question in QUESTIONS], axis=0)
    return mean
