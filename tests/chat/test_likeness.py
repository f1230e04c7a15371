"""Vectors of sentences are computed once a process, and not kept for ever."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from chat.engines import likeness, reading
from chat.engines.likeness import Kept, cosines
from chat.engines.markers import best_sentence
from chat.engines.reading import KeptVectors, ReadPassage
from documents.search.sentences import Chunk, SentenceVector
from ragsite.encoder.client import EncoderUnavailable
from tests.fakes import FakeEncoder

pytestmark = pytest.mark.django_db


class Counting:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.asked.append(list(texts))
        return [np.full(2, len(text), np.float32) for text in texts]


def test_what_was_embedded_is_not_embedded_again() -> None:
    kept, embed = Kept(), Counting()
    first = kept.vectors("passage", ["a", "bb", "a"], embed)
    again = kept.vectors("passage", ["bb", "ccc"], embed)
    assert [int(vector[0]) for vector in (*first, *again)] == [1, 2, 1, 2, 3]
    assert embed.asked == [["a", "bb"], ["ccc"]]
    kept.vectors("query", ["a"], embed)
    assert embed.asked[-1] == ["a"]


def test_what_was_not_wanted_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "MOST_KEPT", 2)
    kept, embed = Kept(), Counting()
    for texts in (["a"], ["b"], ["a"], ["c"], ["a"], ["b"]):
        kept.vectors("passage", texts, embed)
    assert embed.asked == [["a"], ["b"], ["c"], ["b"]]


def test_cosines_are_those_of_the_encoder_and_none_without_it(
    fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = ["The Rhine is long.", "Ships carry coal."]
    expected = fake_encoder.embed_sentences(sentences) @ fake_encoder.embed_query("Is it long?")
    for _ in range(2):
        assert np.allclose(cosines("Is it long?", sentences), expected)

    def away(_: object) -> None:
        raise EncoderUnavailable("away")

    monkeypatch.setattr(fake_encoder, "embed_query", away)
    assert cosines("Is it long?", sentences) is not None  # remembered
    assert cosines("Another one", sentences) is None


class Refusing:
    """An encoder that embeds no sentence."""

    def embed_query(self, text: str) -> np.ndarray:
        return np.array([0.0, 1.0], np.float32)


def read_passage(*kept: SentenceVector) -> ReadPassage:
    passage = SimpleNamespace(text=TEXT, language="en", hit=SimpleNamespace(start=100, text=TEXT, kind="paragraph"))
    return ReadPassage(passage, lambda _passage: kept)


TEXT = "Ships carry coal on it. Many people live beside it."


def test_the_sentence_that_a_claim_means_is_found_by_the_vectors_kept_with_the_passage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusing = Refusing()
    monkeypatch.setattr(likeness, "encoder", lambda: refusing)
    first = SentenceVector(100, 123, np.array([1.0, 0.0], np.float32))
    second = SentenceVector(124, 151, np.array([0.0, 1.0], np.float32))
    best = best_sentence("Das Ufer ist bewohnt", read_passage(first, second))
    assert best.text == "Many people live beside it."


def test_without_all_of_them_the_sentences_are_embedded(fake_encoder: FakeEncoder) -> None:
    best = best_sentence("coal ships", read_passage(SentenceVector(100, 110, np.zeros(2, np.float32))))
    assert best.text == "Ships carry coal on it."


def test_vectors_of_few_passages_are_read_at_once_and_only_when_one_of_them_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document, asked = uuid4(), []
    vectors = {(document, place): [SentenceVector(place, place + 1, np.ones(2, np.float32))] for place in (0, 2, 4)}

    def read(_owner: int, chunks: Sequence[Chunk]) -> dict[Chunk, list[SentenceVector]]:
        asked.append([place for _, place in chunks])
        return {chunk: vectors[chunk] for chunk in chunks if chunk in vectors}

    monkeypatch.setattr(reading, "sentence_vectors", read)
    passages: Any = [SimpleNamespace(hit=SimpleNamespace(document_id=document, position=place)) for place in range(5)]
    kept = KeptVectors(1, passages)
    assert not asked
    found = [[vector.start for vector in kept(passages[place])] for place in (0, 1, 2, 4, 0)]
    assert found == [[0], [], [2], [4], [0]]
    assert asked == [[0, 1, 2], [3, 4]]
