"""The measures of search, against numbers worked out by hand."""

import json
import math

import pytest
from django.core.management import CommandError, call_command

from documents.evaluation import Score

TEXT = "# Rivers\n\nThe Danube flows through Vienna.\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "rivers.md").write_text(TEXT)
    start = TEXT.index("Vienna")
    questions = [
        {
            "question": "Where does the Danube flow?",
            "document": "docs/rivers.md",
            "answerable": True,
            "answers": [{"text": "Vienna", "start": start, "end": start + 6}],
        },
        {"question": "Which?", "documents": ["rivers.md"]},
        {"question": "Where is the Nile?", "document": "docs/rivers.md", "answerable": False, "answers": []},
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return tmp_path


def test_the_measures_follow_from_the_ranks():
    score = Score([1, 3, None, 11 - 1])
    assert score.recall(1) == 0.25
    assert score.recall(5) == 0.5
    assert score.recall(10) == 0.75
    assert score.mrr == pytest.approx((1 + 1 / 3 + 1 / 10) / 4)
    assert score.ndcg == pytest.approx((1 + 1 / math.log2(4) + 1 / math.log2(11)) / 4)
    assert Score().ndcg == 0


def test_a_set_is_asked_and_the_table_printed(owner, processed, folder, capsys):
    processed(owner, TEXT, "rivers.md")
    call_command("evaluate", str(folder), owner="owner")
    out = capsys.readouterr().out
    assert "2 questions" in out
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["by", "words"],
        ["by", "meaning"],
        ["fused", "1.0000"],
    ]


def test_a_set_whose_documents_are_not_there_says_what_to_do(owner, folder):
    with pytest.raises(CommandError, match=r"manage\.py ingest"):
        call_command("evaluate", str(folder), owner="owner")


def test_a_folder_without_questions_says_so(owner, tmp_path):
    with pytest.raises(CommandError, match=r"questions\.jsonl"):
        call_command("evaluate", str(tmp_path), owner="owner")


def test_a_set_that_names_a_missing_file_says_so(owner, folder):
    (folder / "docs" / "rivers.md").unlink()
    with pytest.raises(CommandError, match="rivers"):
        call_command("evaluate", str(folder), owner="owner")


def test_an_unknown_owner_is_told(folder, db):
    with pytest.raises(CommandError, match="nobody"):
        call_command("evaluate", str(folder), owner="nobody")
