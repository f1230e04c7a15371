"""The parts of a chunk that are embedded."""

import itertools

import pytest

from processing.parts import parts

PROSE = (
    "The Danube rises in the Black Forest of Germany. It flows through ten countries to the Black Sea. Why? "
    "Because the mountains leave it no other way to any sea."
)
TABLE = "Year | Sales | Costs\n" + "\n".join(
    f"{year} | {year * 7} million euros | {year * 3}" for year in range(2000, 2020)
)
JAPANESE = (
    "信濃川は日本で一番長い川であり、新潟県で日本海に注いでいる。富士山は日本で一番高い山であり、静岡県と山梨県にある。"
)


def texts(text: str, kind: str = "paragraph", language: str = "en", most: int = 8) -> list[str]:
    return [text[start:end] for start, end in parts(text, kind, language, most)]


def test_sentences_are_parts_and_short_ones_stay_with_the_next():
    assert texts(PROSE) == [
        "The Danube rises in the Black Forest of Germany.",
        "It flows through ten countries to the Black Sea.",
        "Why? Because the mountains leave it no other way to any sea.",
    ]


def test_a_short_last_sentence_stays_with_the_one_before():
    assert texts("The Danube rises in the Black Forest of Germany. Yes.") == [
        "The Danube rises in the Black Forest of Germany. Yes."
    ]


def test_a_heading_goes_with_what_follows_it():
    assert texts("# Rivers\n\nThe Danube rises in the Black Forest of Germany.") == [
        "# Rivers\n\nThe Danube rises in the Black Forest of Germany."
    ]


def test_rows_of_a_table_are_taken_together():
    found = texts(TABLE, "table")
    assert 2 <= len(found) <= 8
    assert found[0].startswith("Year | Sales")
    assert "\n".join(found) == TABLE


def test_japanese_sentences_are_not_too_short():
    assert len(texts(JAPANESE, language="ja")) == 2


@pytest.mark.parametrize("most", [2, 3, 8])
@pytest.mark.parametrize("kind", ["paragraph", "table", "code", "list"])
def test_there_are_never_more_than_wanted_and_nothing_is_left_out(kind, most):
    text = "\n".join(f"Line {number} of a long text says something. And so on it goes." for number in range(60))
    spans = parts(text, kind, "en", most)
    assert 1 < len(spans) <= most
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(not text[end:start].strip() for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("text", ["x", " ", "word " * 300, "#", "。"])
def test_whatever_the_text_it_has_a_part(text):
    assert parts(text, "paragraph", "en", 8)
