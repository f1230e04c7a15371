"""The measures of search, against numbers worked out by hand."""

import json
import math

import pytest
from django.core.management import CommandError, call_command

from documents.evaluation import Score
from documents.question_types import question_type
from documents.significance import paired_bootstrap

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
    assert [line.split()[:2] for line in out.splitlines()[2:5]] == [
        ["by", "words"],
        ["by", "meaning"],
        ["fused", "1.0000"],
    ]
    assert "fused against by meaning: +0.0000 (95 %: +0.0000 to +0.0000), not significant" in out
    assert "the question's vector  p50" in out


def test_a_run_is_saved_and_another_configuration_compared_with_it(owner, processed, folder, tmp_path, capsys):
    processed(owner, TEXT, "rivers.md")
    saved = tmp_path / "then.json"
    call_command("evaluate", str(folder), owner="owner", save=saved)
    ranks = json.loads(saved.read_text())
    ranks["fused"] = [None, None]
    saved.write_text(json.dumps(ranks))
    call_command("evaluate", str(folder), owner="owner", against=saved)
    out = capsys.readouterr().out
    assert "fused, now against then: +1.0000 (95 %: +1.0000 to +1.0000), significant" in out
    assert "by words, now against then: +0.0000" in out


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"questions": ["Another?"]}'])
def test_a_file_that_does_not_fit_is_refused(owner, processed, folder, tmp_path, content):
    processed(owner, TEXT, "rivers.md")
    (tmp_path / "then.json").write_text(content)
    with pytest.raises(CommandError, match=r"then\.json"):
        call_command("evaluate", str(folder), owner="owner", against=tmp_path / "then.json")


def test_a_clear_difference_is_significant_and_chance_is_not():
    better, worse = [1.0] * 60 + [0.0] * 40, [1.0] * 30 + [0.0] * 70
    clear = paired_bootstrap(better, worse)
    assert clear.difference == pytest.approx(0.3)
    assert clear.is_significant
    assert 0.2 < clear.low < 0.3 < clear.high < 0.4
    assert not paired_bootstrap([1.0, 0.0, 1.0], [0.0, 1.0, 0.5]).is_significant
    with pytest.raises(ValueError, match="longer"):
        paired_bootstrap([1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("In what country is Normandy?", "what"),
        ("Whose army was it?", "who"),
        ("Name the river.", "other"),
        ("空海は何年に生まれたか?", "when"),
        ("誰が書いたか", "who"),
        ("首都はどこか", "where"),
    ],
)
def test_a_question_is_of_the_type_of_its_word(question, kind):
    assert question_type(question) == kind


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
