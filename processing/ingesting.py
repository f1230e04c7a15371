"""Files from this machine into a library, and processed: what ``manage.py ingest`` does.

The upload is the same as everywhere. The process that ingests also works on the queue itself, so that it comes to its
end whether the site's workers run or not; what both of them do is kept apart by the leases.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.files import File
from django.db import Error as DatabaseProblem
from django.db import connection
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from documents.models import Collection, Document
from documents.services import UploadRefused, upload_document
from processing import pipeline

if TYPE_CHECKING:
    from ragsite.accounts.models import User

IDLE_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """What became of a file: a document's id, or why it was refused."""

    path: Path
    document_id: UUID | None
    created: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Progress:
    """How many of the documents have come to an end, and the chunks that they have."""

    done: int
    failed: int
    chunks: int


def files_below(paths: Sequence[Path]) -> list[Path]:
    """The files named and those below the folders named, in order; hidden ones and question sets are left out."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inner = (entry for entry in sorted(path.rglob("*")) if entry.is_file() and not _is_question_set(entry))
            found += [entry for entry in inner if not any(p.startswith(".") for p in entry.relative_to(path).parts)]
        else:
            found.append(path)
    return found


def question_sets_below(paths: Sequence[Path]) -> list[Path]:
    """What ``files_below`` leaves out because it asks about the documents beside it (``manage.py evaluate``)."""
    folders = (path for path in paths if path.is_dir())
    return [entry for folder in folders for entry in sorted(folder.rglob("questions.jsonl")) if _is_question_set(entry)]


def _is_question_set(path: Path) -> bool:
    return path.name == "questions.jsonl" and (path.parent / "docs").is_dir()


def upload_files(owner: "User", paths: Sequence[Path], collections: Sequence[Collection]) -> Iterator[Outcome]:
    """Upload one file after the other; what is refused is told and the rest goes on."""
    for path in paths:
        try:
            with path.open("rb") as opened:
                file = File(opened, name=path.name)
                upload = upload_document(owner=owner, file=file, filename=path.name, collections=collections)
        except UploadRefused as refusal:
            yield Outcome(path, None, refusal=refusal.detail)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            yield Outcome(path, None, refusal=error.strerror or str(error))
        else:
            yield Outcome(path, upload.document.id, upload.created)


def progress_of(documents: Sequence[UUID]) -> Progress:
    """How far these documents are; one that was deleted meanwhile counts as done."""
    counts = Document.objects.filter(id__in=documents).aggregate(
        in_work=Count("id", filter=Q(status__in=Document.IN_WORK)),
        failed=Count("id", filter=Q(status=Document.Status.FAILED)),
        chunks=Coalesce(Sum("chunk_count"), 0),
    )
    return Progress(len(documents) - counts["in_work"], counts["failed"], counts["chunks"])


@contextmanager
def working(workers: int | None = None) -> Iterator[None]:
    """Work on the queue in threads of this process until the block ends."""
    ended = threading.Event()
    count = workers or min(2, os.cpu_count() or 1)
    threads = [threading.Thread(target=_work, args=(ended,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(timeout=5)


def _work(ended: threading.Event) -> None:
    try:
        while not ended.is_set():
            _work_once()
    finally:
        connection.close()


def _work_once() -> None:
    try:
        idle = pipeline.process_next() is None
    except DatabaseProblem:  # restarting: the rows are still there when it is back
        connection.close()
        idle = True
    if idle:
        time.sleep(IDLE_SECONDS)
