"""How alike sentences are by meaning, as far as the encoder can tell."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ragsite.embedding import encoder
from ragsite.encoder.client import EncoderClient, EncoderRejected, EncoderUnavailable, Vectors

MOST_KEPT = 4096
"""Vectors that a process remembers, 1.5 KB each: an answer points into few passages, again and again."""


def cosines(claim: str, sentences: Sequence[str]) -> NDArray[np.float32] | None:
    """The cosine of a claim and each sentence; None when the encoder is away."""
    client = encoder()
    kept = _kept.setdefault(client, Kept())
    try:
        said = kept.vectors("passage", sentences, client.embed_sentences)
    except (EncoderUnavailable, EncoderRejected):
        return None
    return cosines_of(claim, said)


def cosines_of(claim: str, vectors: Sequence[Vectors]) -> NDArray[np.float32] | None:
    """The same with the vectors of the sentences, each of shape (dimensions,)."""
    client = encoder()
    try:
        (claimed,) = _kept.setdefault(client, Kept()).vectors("query", [claim], _one_by_one(client))
    except (EncoderUnavailable, EncoderRejected):
        return None
    alike: NDArray[np.float32] = np.stack(vectors) @ claimed
    return alike


def _one_by_one(client: EncoderClient) -> Callable[[Sequence[str]], Iterable[Vectors]]:
    return lambda texts: [client.embed_query(text) for text in texts]


class Kept:
    """Vectors by what was embedded, of which only a hash is kept; the one not wanted for longest goes first."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def vectors(
        self, kind: str, texts: Sequence[str], embed: Callable[[Sequence[str]], Iterable[Vectors]]
    ) -> list[Vectors]:
        """Of each text; ``embed`` is asked once, for those that are not remembered."""
        keys = [blake2b(f"{kind}\0{text}".encode(errors="replace"), digest_size=16).digest() for text in texts]
        found = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            found |= zip(missing, embed(list(missing.values())), strict=True)
            self._keep(found)
        return [found[key] for key in keys]

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        with self._lock:
            known = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in known:
                self._vectors.move_to_end(key)
        return known

    def _keep(self, found: dict[bytes, Vectors]) -> None:
        with self._lock:
            self._vectors |= found
            while len(self._vectors) > MOST_KEPT:
                self._vectors.popitem(last=False)


_kept: WeakKeyDictionary[object, Kept] = WeakKeyDictionary()
"""By client: another client may have another model."""
