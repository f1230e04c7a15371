"""Documents whose vectors are of another model, or made in another way, than the site's present one.

They are embedded anew in the background, a few at a time and only while nothing else waits. Until a document is done it
is found by its old vectors where they are comparable (documents.vectors.model_names), else by its words.
"""

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from documents.caching import library_changed
from documents.models import Document, Embedding, EmbeddingModel
from documents.queue.waking import wake_worker
from documents.vectors import forget_model, model_names
from ragsite.routes import EMBED
from ragsite.sharding.line import has_work

AT_ONCE = 20
"""Documents given to the workers in one round: an upload never waits for more."""


def renew_vectors() -> int:
    """Have the next documents embedded anew. Returns how many; 0 when there are none, or when others are in work."""
    present = EmbeddingModel.objects.filter(name=model_names()[0]).first()
    old = list(EmbeddingModel.objects.exclude(name=model_names()[0]))
    if not old or Document.objects.in_work().exists():
        return 0
    ids = list(_outdated(present).values_list("id", flat=True)[:AT_ONCE])
    if not ids:
        for model in old:
            forget_model(model)
        return 0
    # Conditional: what someone deletes or restarts at this moment is left alone.
    chosen = Document.objects.filter(id__in=ids)
    with transaction.atomic():
        for owner_id in set(chosen.values_list("owner_id", flat=True)):
            library_changed(owner_id)
            has_work(owner_id)
        count = chosen.filter(status=Document.Status.PROCESSED).update(
            status=Document.Status.EMBEDDING, stage_progress=0, stage_started_at=Now(), due_at=Now(), updated_at=Now()
        )
    if count:
        wake_worker(EMBED)
    return count


def _outdated(present: EmbeddingModel | None) -> QuerySet[Document]:
    """Processed documents that have chunks and no vector of the present model."""
    rows = Document.objects.filter(status=Document.Status.PROCESSED, chunk_count__gt=0).order_by("id")
    if present is None:
        return rows
    present_ones = Embedding.objects.filter(owner=OuterRef("owner"), document_id=OuterRef("id"), model=present)
    # not Exists: PostgreSQL may join it, and then asks every owner's partition for each document
    return rows.alias(vector=Subquery(present_ones.values("position")[:1])).filter(vector=None)
