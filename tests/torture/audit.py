"""What must hold of a site that has come to rest: nothing lost, nothing twice, nothing left behind.

Runs inside the site: ``manage.py shell -c "from tests.torture.audit import report; report()"``.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from redis import Redis

from chat.models import Message
from documents import sweeping
from documents.importing.models import Import
from documents.models import Document
from documents.vectors import model_names
from ragsite.api import uploads

ORPHANS = {
    table: f"SELECT count(*) FROM {table} t WHERE NOT EXISTS "
    "(SELECT FROM documents_document d WHERE d.id = t.document_id AND d.owner_id = t.owner_id)"
    for table in ("documents_chunk", "documents_embedding", "documents_text", "documents_membership")
}
WHOLE = {
    "vectors without a chunk": """
        SELECT count(*) FROM documents_embedding e WHERE NOT EXISTS (SELECT FROM documents_chunk c
        WHERE c.owner_id = e.owner_id AND c.document_id = e.document_id AND c.position = e.position)""",
    "chunks of processed documents without a vector": """
        SELECT count(*) FROM documents_chunk c JOIN documents_document d ON d.id = c.document_id
        WHERE d.status = 'processed' AND NOT EXISTS (SELECT FROM documents_embedding e
        JOIN documents_embeddingmodel m ON m.id = e.model_id AND m.name = %(model)s
        WHERE e.owner_id = c.owner_id AND e.document_id = c.document_id AND e.position = c.position)""",
    "chunks whose vectors have gaps": """
        SELECT count(*) FROM (SELECT FROM documents_embedding GROUP BY owner_id, document_id, position, model_id
        HAVING max(part) <> count(*) - 1 OR min(part) <> 0) broken""",
    "documents whose chunks have gaps, or are not as many as it says": """
        SELECT count(*) FROM documents_document d LEFT JOIN (SELECT document_id, count(*) AS chunks,
        min(position) AS first, max(position) AS last FROM documents_chunk GROUP BY document_id) c
        ON c.document_id = d.id WHERE d.searchable AND (coalesce(c.chunks, 0) <> d.chunk_count OR c.first <> 0
        OR c.last <> d.chunk_count - 1)""",
    "chunks of documents that are not searchable": """
        SELECT count(*) FROM documents_chunk c JOIN documents_document d ON d.id = c.document_id
        WHERE NOT d.searchable""",
    "processed documents that are not searchable or have no chunks": """
        SELECT count(*) FROM documents_document WHERE status = 'processed' AND (NOT searchable OR chunk_count = 0)""",
    "chunks that are not what stands at their place in the text": """
        SELECT count(*) FROM documents_chunk c JOIN documents_text t ON t.document_id = c.document_id
        WHERE substr(t.text, c.start + 1, c.end - c.start) <> c.text""",
    "searchable documents without their text": """
        SELECT count(*) FROM documents_document d WHERE searchable AND NOT EXISTS
        (SELECT FROM documents_text t WHERE t.document_id = d.id)""",
    "citations that are not verbatim": """
        SELECT count(*) FROM chat_citation c JOIN documents_text t ON t.document_id = c.document_id
        WHERE substr(t.text, c.start + 1, c.end - c.start) <> c.quote""",
}  # fmt: skip

AT_REST = {
    "documents in work or leased": """
        SELECT count(*) FROM documents_document WHERE status NOT IN ('processed', 'failed')
        OR attempt IS NOT NULL OR lease_expires_at IS NOT NULL""",
    "documents that failed without a true reason": """
        SELECT count(*) FROM documents_document WHERE status = 'failed'
        AND (error_detail = '' OR error_code IN ('internal_error', 'file_missing', 'storage_error', 'crashed'))""",
    "answers that still run": "SELECT count(*) FROM chat_message WHERE status = 'running'",
}  # fmt: skip


def report() -> None:
    """Sweep as the clock does once an hour, and print what was swept and what is wrong, as JSON."""
    swept = sweep_at_once()
    print(json.dumps({"swept": swept, "wrong": list(findings()), "counts": counts()}))


def sweep_at_once() -> int:
    """What the hourly sweep removes, without its hour of grace: nothing is on its way in any more."""
    grace, just_made = sweeping.GRACE, uploads.JUST_MADE_SECONDS
    sweeping.GRACE, uploads.JUST_MADE_SECONDS = timedelta(), 0
    try:
        return sweeping.sweep_files()
    finally:
        sweeping.GRACE, uploads.JUST_MADE_SECONDS = grace, just_made


def findings() -> Iterator[str]:
    yield from rows_whole()
    yield from rows_at_rest()
    yield from _files()
    yield from _broker()


def rows_whole() -> Iterator[str]:
    """What must hold at any moment."""
    for table, query in ORPHANS.items():
        yield from _counted(f"rows of {table} without a document", query)
    for name, query in WHOLE.items():
        yield from _counted(name, query)


def rows_at_rest() -> Iterator[str]:
    """What must hold when nothing goes on any more."""
    for name, query in AT_REST.items():
        yield from _counted(name, query)


def _counted(name: str, query: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"model": model_names()[0]})
        if number := cursor.fetchone()[0]:
            yield f"{number} {name}"


def counts() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT status, error_code, count(*) FROM documents_document GROUP BY 1, 2 ORDER BY 1, 2")
        documents = {f"{status} {code}".strip(): number for status, code, number in cursor.fetchall()}
        cursor.execute("SELECT status, count(*) FROM chat_message WHERE role = 'assistant' GROUP BY 1 ORDER BY 1")
        return {"documents": documents, "answers": dict(cursor.fetchall()), "messages": Message.objects.count()}


# --- Files ----------------------------------------------------------------------------------------------------------
def _files() -> Iterator[str]:
    """Each document has its one file with the content that came, and beside it finished pictures of pages at most."""
    known = {f"{owner}/{job}" for owner, job in Import.objects.values_list("owner_id", "id")}
    for document in Document.objects.all():
        known.add(folder_of(document))
        yield from of_document(document)
    for owner in default_storage.listdir("")[0]:
        for name in default_storage.listdir(owner)[0]:
            if f"{owner}/{name}" not in known:
                yield f"files of no document: {owner}/{name}"
    if left := [path.name for path in settings.LAYOUT.uploads_dir.iterdir()]:
        yield f"{len(left)} uploads that broke off were left: {left[:3]}"


def folder_of(document: Document) -> str:
    return f"{document.owner_id}/{document.id}"


def of_document(document: Document) -> Iterator[str]:
    folder = folder_of(document)
    if not default_storage.exists(document.file.name or ""):
        yield f"{document.filename} has no file"
        return
    with document.file.open() as file:
        if hashlib.file_digest(file, "sha256").digest() != bytes(document.sha256):
            yield f"{document.filename} has another content than was sent"
    folders, files = default_storage.listdir(folder)
    if extra := [name for name in files if f"{folder}/{name}" != document.file.name]:
        yield f"{document.filename} has {len(extra)} files more than its own"
    pictures = default_storage.listdir(f"{folder}/pages")[1] if "pages" in folders else []
    if drafts := [name for name in pictures if not name.endswith(".webp")]:
        yield f"{document.filename} has half-written pictures of pages: {drafts}"


# --- Valkey ---------------------------------------------------------------------------------------------------------
def _broker() -> Iterator[str]:
    """No message waits, and no answer counts as alive. What a killed worker had taken is given out again in an hour."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        for queue in settings.CELERY_TASK_QUEUES:
            if waiting := redis.llen(f"ragsite:broker:{queue}"):
                yield f"{waiting} messages wait in the queue {queue}"
        if alive := list(redis.scan_iter("*:answers:*:alive")):
            yield f"{len(alive)} answers count as alive"
