"""What a passage's place is called."""

import pytest

from documents.places import header_over, heading_path, place

HEADER = "Region | Q1 | Q2"


@pytest.mark.parametrize(
    ("kind", "page", "label", "words"),
    [
        ("page", None, "", ""),
        ("page", 3, "", "page 3"),
        ("page", 4, "iv", "page iv (4)"),
        ("slide", 3, "", "slide 3"),
        ("slide", 3, "hidden", "slide 3 (hidden)"),
        ("sheet", 2, "Budget", "sheet Budget"),
        ("sheet", 2, "", "sheet 2"),
        ("part", 2, "report.pdf", "part 2 (report.pdf)"),
        ("part", 1, "", "part 1"),
    ],
)
def test_a_place_is_called_what_people_call_it(kind, page, label, words):
    assert place(kind, page, label) == words


def test_the_path_says_nothing_that_the_place_and_the_header_say():
    assert heading_path(("Budget", "Europe", HEADER), "Budget", HEADER) == ["Europe"]
    wide = " | ".join(f"column {number}" for number in range(60))
    assert heading_path(("Budget", wide[:300]), "", wide) == ["Budget"]
    assert heading_path((), "Budget", HEADER) == []


@pytest.mark.parametrize(
    ("quote", "kind", "shown"),
    [
        ("North | 12 | 30", "table", True),
        ("North | 12", "table", True),  # a part of a row
        ("North | 12 | 30\nSouth | 1 | 2", "paragraph", True),  # a chunk that begins with a paragraph
        ("The north did well.", "table", False),
        ("a | b | c | d", "table", False),  # another table's
        ("Region | Q1 | Q2\nNorth | 12 | 30", "table", False),  # it stands there already
    ],
)
def test_a_quoted_row_has_its_header(quote, kind, shown):
    assert header_over(quote, kind, HEADER) == (HEADER if shown else "")


def test_rows_without_cells_are_known_by_their_chunk():
    assert header_over("North 12 30", "table", "Region Q1 Q2") == "Region Q1 Q2"
    assert header_over("North did well", "paragraph", "Region Q1 Q2") == ""
