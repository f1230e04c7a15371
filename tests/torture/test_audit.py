"""The audit finds what it looks for: each kind of harm is done once."""

from collections.abc import Callable

import pytest
from django.db import connection

from documents.models import Document
from tests.torture.audit import counts, findings, of_document, rows_at_rest, rows_whole

pytestmark = pytest.mark.django_db
TEXT = "\n\n".join(f"# Heading {n}\n\n" + f"fact{n} is a fact of its own. " * 60 for n in range(6))
HARM = {
    "without a vector": "DELETE FROM documents_embedding WHERE position = 1",
    "vectors have gaps": "UPDATE documents_embedding SET part = 99 WHERE position = 0 AND part = 0",
    "chunks have gaps": "UPDATE documents_document SET chunk_count = chunk_count + 1",
    "not searchable": "UPDATE documents_document SET searchable = false",
    "what stands at their place": "UPDATE documents_text SET text = 'x' || text",
    "without their text": "DELETE FROM documents_text",
    "in work or leased": "UPDATE documents_document SET lease_expires_at = now()",
    "without a true reason": (
        "UPDATE documents_document SET status = 'failed', error_code = 'internal_error', error_detail = 'x'"
    ),
}


@pytest.fixture
def document(owner, processed) -> Document:
    return processed(owner, TEXT, "facts.md")


def test_of_a_site_where_all_is_well_it_says_nothing(document: Document) -> None:
    """Of its rows and its own files: in the folder there are those of other tests too."""
    assert [*rows_whole(), *rows_at_rest(), *of_document(document)] == []
    assert counts()["documents"] == {"processed": 1}


@pytest.mark.parametrize("name", HARM)
def test_harm_to_rows_is_found(document: Document, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(HARM[name])
        assert cursor.rowcount > 0
    assert any(name in finding for finding in findings())


def test_harm_to_files_is_found(document: Document, settings) -> None:
    folder = settings.LAYOUT.files_dir / f"{document.owner_id}" / f"{document.id}"
    harm: list[tuple[str, Callable[[], object]]] = [
        ("more than its own", lambda: (folder / "other").write_bytes(b"x")),
        ("another content", lambda: (folder.parent.parent / document.file.name).write_bytes(b"x")),
        ("files of no document", lambda: (folder.parent / f"{document.owner_id}-stray").mkdir()),
        ("broke off", lambda: (settings.LAYOUT.uploads_dir / "half").write_bytes(b"x")),
        ("has no file", lambda: (folder.parent.parent / document.file.name).unlink()),
    ]
    for name, do in harm:
        do()
        assert any(name in finding for finding in findings()), name
    (folder.parent / f"{document.owner_id}-stray").rmdir()
    (settings.LAYOUT.uploads_dir / "half").unlink()
