"""Search finds what answers: the real encoder on real questions, in two languages, by one method."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from documents.evaluation import Run, evaluate, load_questions
from documents.search import Mode
from documents.services import upload_document
from processing import pipeline
from ragsite.accounts.models import User
from ragsite.layout import PROJECT_DIR

DATA = PROJECT_DIR.parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason="the question sets of ../shared/data are not here"),
]


@pytest.fixture
def scores(owner: User, sandbox_service: Path, encoder_service: Path) -> Callable[[str], Run]:
    def measure(name: str) -> Run:
        for path in sorted((DATA / name / "docs").iterdir()):
            upload_document(owner=owner, file=ContentFile(path.read_bytes(), path.name), filename=path.name)
        while pipeline.process_next():
            pass
        *_, last = evaluate(load_questions(DATA / name, owner.pk), owner.pk)
        return last

    return measure


@pytest.mark.parametrize(("name", "wanted"), [("squad", 0.92), ("jaquad", 0.92)])
def test_fused_search_reaches_the_level_that_docs_promise(scores, name: str, wanted: float) -> None:
    found = scores(name).scores
    fused = found[Mode.FUSED].ndcg
    assert fused >= wanted
    assert fused >= max(found[Mode.WORDS].ndcg, found[Mode.MEANING].ndcg) - 0.005
