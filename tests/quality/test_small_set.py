"""A guard against regressions that takes seconds: the real encoder on a small set of this repository."""

from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from documents.evaluation import Question, Run, evaluate, load_questions
from documents.search import Mode
from documents.services import upload_document
from processing import pipeline
from ragsite.accounts.models import User
from tests.quality import small_set


@pytest.fixture
def asked(owner: User, sandbox_service: Path, encoder_service: Path, tmp_path: Path) -> tuple[list[Question], Run]:
    small_set.write(tmp_path)
    for path in sorted((tmp_path / "docs").iterdir()):
        upload_document(owner=owner, file=ContentFile(path.read_bytes(), path.name), filename=path.name)
    while pipeline.process_next():
        pass
    questions = load_questions(tmp_path, owner.pk)
    *_, run = evaluate(questions, owner.pk)
    return questions, run


def test_search_finds_what_it_found_before(asked: tuple[list[Question], Run]) -> None:
    questions, run = asked
    fused = run.scores[Mode.FUSED]
    missed = [question.text for question, rank in zip(questions, fused.ranks, strict=True) if rank != 1]
    assert fused.ndcg >= 0.9, missed
    assert fused.recall(5) >= 0.95, missed
    assert fused.ndcg >= max(run.scores[Mode.WORDS].ndcg, run.scores[Mode.MEANING].ndcg) - 0.005
    codes = [place for place, question in enumerate(questions) if any(map(str.isdigit, question.text))]
    assert fused.of(codes).recall(1) >= 0.8, missed
