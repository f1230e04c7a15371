"""Which words of a question choose the chunks that are ranked, and what is counted anew when."""

from collections import OrderedDict

import pytest
from django.db import connection

from documents.search import Mode, Scope, sample, search, terms
from documents.search.sample import SAMPLE_SIZE, Keys
from documents.search.statement import EXACT_UP_TO, exact_up_to
from documents.search.terms import ROWS_BY_ONE, Term, read_terms

LARGE = 1_000_000


def term(lexeme: str, rows: float) -> Term:
    return Term("en", lexeme, f"'{lexeme}'", 1, 10 / (1 + rows), rows)


def chosen(*rows: float, chunks: float = LARGE) -> tuple[list[str], list[str]]:
    return terms._candidates([term(name, count) for name, count in zip("abcdefgh", rows, strict=False)], chunks)


def test_in_a_small_library_every_word_counts():
    assert chosen(1, 900, chunks=1000) == (["'a'", "'b'"], [])


def test_rare_words_choose_alone_and_the_next_ones_in_pairs():
    candidates, fillers = chosen(10, 100, 20_000, 20_000, 900_000)
    assert candidates == ["'a'", "'b'", "('c' & 'd')"]
    assert fillers == []


def test_where_the_rarest_word_is_common_too_pairs_choose():
    assert chosen(ROWS_BY_ONE + 1, 50_000) == (["('a' & 'b')"], [])
    assert chosen(ROWS_BY_ONE + 1) == (["'a'"], [])


def test_a_single_common_word_fills_up_what_the_rare_ones_may_not_find():
    assert chosen(20, ROWS_BY_ONE) == (["'a'", "'b'"], [])
    assert chosen(20, ROWS_BY_ONE + 1) == (["'a'"], ["'b'"])


def test_a_common_word_is_found_though_the_rare_one_stands_nowhere(owner, processed, monkeypatch):
    monkeypatch.setattr(terms, "SMALL_LIBRARY", 0)
    monkeypatch.setattr(terms, "ROWS_BY_TERMS", 0.5)
    monkeypatch.setattr(terms, "ROWS_BY_ONE", 0.5)
    processed(owner, "The ferry crosses the lake every morning.\n", "ferry.md")
    with connection.cursor() as cursor:
        read = read_terms(cursor, owner.pk, "zeppelin ferry")
    assert read is not None
    assert (read.candidates, read.fillers) == ("'zeppelin'", "'ferri'")
    assert [hit.filename for hit in search(Scope(owner.pk), "zeppelin ferry", mode=Mode.WORDS)] == ["ferry.md"]


def test_a_library_without_chunks_has_no_terms(owner):
    with connection.cursor() as cursor:
        assert read_terms(cursor, owner.pk, "ferry") is None


def test_a_word_is_counted_once_as_long_as_the_library_is_the_same(owner, processed, django_assert_num_queries):
    processed(owner, "The ferry crosses the lake.\n", "ferry.md")
    for statements in (2, 1):
        with django_assert_num_queries(statements), connection.cursor() as cursor:
            before = read_terms(cursor, owner.pk, "ferry")
    processed(owner, "The bridge crosses the river.\n", "bridge.md")
    with django_assert_num_queries(2), connection.cursor() as cursor:
        after = read_terms(cursor, owner.pk, "ferry")
    assert before.chunks == 1
    assert after.chunks == 2
    assert after.terms[0].idf > before.terms[0].idf


def test_the_size_of_a_library_is_told_by_how_far_its_sample_reaches():
    assert Keys(20, 1, 1).chunks == 20
    assert Keys(SAMPLE_SIZE, 1, 2**31 // 100 - 1).chunks == pytest.approx(100 * SAMPLE_SIZE, rel=0.001)


def test_a_small_library_among_many_others_is_compared_exactly():
    assert exact_up_to(beside=1000) == EXACT_UP_TO
    assert 25_000 < exact_up_to(beside=1_000_000) < 40_000


def test_what_is_kept_of_owners_is_bounded(monkeypatch):
    monkeypatch.setattr(sample, "_samples", OrderedDict())
    monkeypatch.setattr(sample, "MOST_OWNERS", 2)
    for owner_id in (-1, -2, -3):
        sample._sample_of(owner_id, Keys(1, 1, 1))
    assert -1 not in sample._samples
    assert -3 in sample._samples
