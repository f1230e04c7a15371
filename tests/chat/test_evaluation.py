"""`manage.py evaluate_answers`: what it prints about sets with places, with references, and about follow-ups."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chat.evaluation import asked_in_other_words
from chat.management.commands import evaluate_answers
from chat.reference_answers import expected
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION, RHINE, TOWER

REFERENCE = "It is 1,230 kilometres long and flows through Basel, as Graubünden knows. (SOURCE: rhine.md)"


def a_set(folder: Path, *entries: dict[str, Any]) -> Path:
    docs = folder / "docs"
    docs.mkdir(parents=True)
    (docs / "rhine.md").write_text(RHINE, encoding="utf-8")
    (docs / "tower.md").write_text(TOWER, encoding="utf-8")
    (folder / "questions.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return folder


def answerable(text: str, **values: Any) -> dict[str, Any]:
    start = RHINE.index(text)
    span = {"text": text, "start": start, "end": start + len(text)}
    return {"question": QUESTION, "document": "docs/rhine.md", "answerable": True, "answers": [span], **values}


def rows(printed: str) -> dict[str, list[str]]:
    return {line[:22].strip(): line[22:].split() for line in printed.splitlines()}


def test_outcomes_are_printed_by_kind_of_question(
    owner: User, library: dict[str, Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tricky = {"question": "Who sank the bells of Pisa?", "document": "docs/tower.md", "answerable": False}
    folder = a_set(tmp_path / "small", answerable("1,230 kilometres"), tricky)
    call_command("evaluate_answers", folder, owner=owner.username)
    found = rows(capsys.readouterr().out)
    assert found["answerable"] == ["1", "0.000", "1.000"]
    assert found["tricky"][0] == found["other"][0] == "1"
    assert found["answerable, held out"] == found["answerable"], "no document of it was calibrated on"
    assert any(line.startswith("total") for line in found)


def test_answers_are_compared_with_references(
    owner: User, library: dict[str, Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"question": QUESTION, "documents": ["rhine.md"], "answerable": True, "reference_answer": REFERENCE}
    call_command("evaluate_answers", a_set(tmp_path / "reports", entry), owner=owner.username)
    printed = capsys.readouterr().out
    assert "1 questions, 0.000 refused, 1.000 answered from the right documents alone" in printed
    assert rows(printed)["in the answer"] == ["1.000", "0.000"]
    assert rows(printed)["in the passages"] == ["1.000", "1.000"]


def test_a_set_is_asked_in_other_words(
    owner: User,
    library: dict[str, Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = a_set(tmp_path / "small", answerable("1,230 kilometres", id="1"), answerable("1,230 kilometres", id="2"))
    wordings = tmp_path / "wordings.jsonl"
    lines = [{"set": "small", "id": "2", "question": "Wo steht das?"}, {"set": "large", "id": "1", "question": "Wo?"}]
    wordings.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [entry["question"] for entry in asked_in_other_words(folder, wordings)] == ["Wo steht das?"]
    monkeypatch.setattr(evaluate_answers, "TRANSLATED", wordings)
    call_command("evaluate_answers", folder, owner=owner.username, translated=True)
    printed = capsys.readouterr().out
    assert printed.startswith("small, translated")
    assert rows(printed)["answerable"][0] == "1"


def test_what_the_question_names_is_not_expected_of_the_answer() -> None:
    numbers, names = expected(
        {"question": "What flows through Basel in 2023?", "reference_answer": REFERENCE + " 2023"}
    )
    assert numbers == {"1230"}
    assert len(names) == 1, "Graubünden; neither Basel nor the source"


def test_follow_ups_are_printed_by_set_and_by_what_the_rules_have_seen(
    owner: User,
    library: dict[str, Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_set(tmp_path / "small", answerable("1,230 kilometres"))
    entry = answerable("1,230", set="small", first=QUESTION, first_answer="", self_contained=QUESTION)
    file = tmp_path / "follow_ups.jsonl"
    file.write_text(json.dumps(entry))
    monkeypatch.setattr(evaluate_answers, "FOLLOW_UPS", {"in view": file, "held out": file})
    call_command("evaluate_answers", tmp_path, owner=owner.username, follow_ups=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [" ".join(line[:4]) for line in lines if line[-3] == "alone"] == [
        "small in view alone",
        "small held out alone",
    ]


def test_a_set_that_is_not_in_the_library_is_told(owner: User, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Run first"):
        call_command("evaluate_answers", a_set(tmp_path / "small", answerable("1,230")), owner=owner.username)
