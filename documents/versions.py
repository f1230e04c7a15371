"""Which document is to replace which: the chains, read and changed by one transaction of an owner at a time."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection

from documents.models import Document, EarlierVersion

CHAIN = """
WITH RECURSIVE chain(id, replaces_id) AS (
  SELECT id, replaces_id FROM documents_document WHERE owner_id = %(owner)s AND id = %(document)s
  UNION
  SELECT d.id, d.replaces_id FROM documents_document d JOIN chain ON d.owner_id = %(owner)s AND d.id = chain.replaces_id
)
SELECT id FROM chain WHERE id <> %(document)s
"""


def lock_versions(owner_id: int) -> None:
    """Until the transaction ends nobody else changes the owner's chains; always taken before any row is locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('documents_versions', %s))", [owner_id])


def versions_below(owner_id: int, document: UUID) -> list[UUID]:
    """What a document is to replace: its earlier version, that one's, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(CHAIN, {"owner": owner_id, "document": document})
        return [row[0] for row in cursor.fetchall()]


def newest_version(owner_id: int, document: UUID) -> UUID:
    """The end of the chain above a document: what is to replace it, that one's replacement, and so on."""
    mine = Document.objects.filter(owner_id=owner_id)
    while newer := mine.filter(replaces=document).values_list("id", flat=True).first():
        document = newer
    return document


def current_version(owner_id: int, document: UUID) -> UUID | None:
    """The document itself, or the one that has replaced it since; None when neither is the owner's."""
    if Document.objects.filter(owner_id=owner_id, id=document).exists():
        return document
    return EarlierVersion.objects.filter(owner_id=owner_id, id=document).values_list("document_id", flat=True).first()


def have_replaced(documents: Sequence[Document]) -> bool:
    """Whether one of these, all of one owner, is processed and took another one's place."""
    done = [document.id for document in documents if document.status == Document.Status.PROCESSED]
    owner = documents[0].owner_id if documents else None
    return bool(done) and EarlierVersion.objects.filter(owner=owner, document__in=done).exists()


def take_out(owner_id: int, documents: Iterable[UUID]) -> None:
    """Close the chains over documents that are about to be deleted."""
    going = list(documents)
    pending = Document.objects.filter(owner_id=owner_id, id__in=going, replaces__isnull=False)
    for document in pending:
        Document.objects.filter(owner_id=owner_id, id=document.id).update(replaces=None)
        Document.objects.filter(owner_id=owner_id, replaces=document.id).update(replaces=document.replaces_id)
    # What was to replace them replaces nothing: as the foreign key would, but for distributed tables, where it cannot.
    Document.objects.filter(owner_id=owner_id, replaces__in=going).update(replaces=None)
