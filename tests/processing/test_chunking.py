"""Chunks follow the structure of the text and fit the model."""

import pytest

from processing.chunking import MAX_TOKENS, chunk
from ragsite.extraction import Block, Extraction


def count(texts):
    return [len(text.split()) for text in texts]


def extraction_of(*blocks: tuple[str, str, int | None, int | None]) -> Extraction:
    """Blocks given as (kind, text, level, page)."""
    text, made = "", []
    for kind, content, level, page in blocks:
        made.append(Block(kind, len(text), len(text) + len(content), level, page))
        text += content + "\n\n"
    return Extraction(text=text, blocks=made)


def words(number: int, word: str = "word") -> str:
    return " ".join(f"{word}{i}" for i in range(number))


def test_short_paragraphs_stay_together_under_their_heading():
    extraction = extraction_of(
        ("heading", "# Title", 1, None), ("paragraph", words(20), None, None), ("paragraph", words(30), None, None)
    )
    (passage,) = chunk(extraction, "en", count)
    assert passage.headings == ("Title",)
    assert extraction.text[passage.start : passage.end].startswith("# Title")
    assert passage.kind == "paragraph"


def test_no_passage_is_longer_than_the_limit_and_none_of_the_text_is_lost():
    sentences = " ".join(f"This is sentence number {i} of a long paragraph." for i in range(200))
    extraction = extraction_of(("paragraph", sentences, None, None))
    passages = chunk(extraction, "en", count)
    assert all(passage.token_count <= MAX_TOKENS for passage in passages)
    covered = " ".join(extraction.text[passage.start : passage.end] for passage in passages)
    assert covered.split() == sentences.split()


def test_a_single_endless_word_is_cut():
    extraction = extraction_of(("paragraph", "x" * 10_000, None, None))
    passages = chunk(extraction, "en", lambda texts: [len(text) // 4 for text in texts])
    assert len(passages) > 1
    assert "".join(extraction.text[p.start : p.end] for p in passages) == "x" * 10_000


def test_passages_do_not_cross_pages():
    extraction = extraction_of(("paragraph", words(5), None, 1), ("paragraph", words(5), None, 2))
    assert [passage.page for passage in chunk(extraction, "en", count)] == [1, 2]


def test_headings_make_a_path():
    extraction = extraction_of(
        ("heading", "# A", 1, None),
        ("paragraph", words(80), None, None),
        ("heading", "## B", 2, None),
        ("paragraph", words(80), None, None),
        ("heading", "# C", 1, None),
        ("paragraph", words(80), None, None),
    )
    assert [passage.headings for passage in chunk(extraction, "en", count)] == [("A",), ("A", "B"), ("C",)]


def test_a_table_that_goes_on_keeps_its_header():
    rows = "\n".join(["name | value", *(f"row {i} | {words(8)}" for i in range(100))])
    extraction = Extraction(text=rows, blocks=[Block("table", 0, len(rows), header=True)])
    passages = chunk(extraction, "en", count)
    assert len(passages) > 1
    assert passages[0].headings == ()
    assert all(passage.headings == ("name | value",) for passage in passages[1:])


def test_japanese_is_cut_between_sentences():
    text = "これは文です。" * 400
    extraction = extraction_of(("paragraph", text, None, None))
    passages = chunk(extraction, "ja", lambda texts: [len(entry) for entry in texts])
    assert all(extraction.text[p.start : p.end].endswith("。") for p in passages)


@pytest.mark.parametrize("blocks", [[], [Block("heading", 0, 5, 1)]])
def test_a_text_of_nothing_or_of_a_heading_alone_is_no_fault(blocks):
    passages = chunk(Extraction(text="Title", blocks=blocks), "en", count)
    assert len(passages) == len(blocks)
