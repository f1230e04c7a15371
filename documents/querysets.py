"""The reads of documents, named as English. No method here evaluates."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models import Count, OuterRef, Prefetch, Q, Subquery
from django.db.models.functions import Coalesce, Lower, Now

from ragsite.api.sifting import SiftedQuerySet

if TYPE_CHECKING:
    from documents.models import Chunk, Collection, Document, DocumentText  # noqa: F401  (named in strings)
    from ragsite.accounts.models import User

FILENAME_WORDS = "to_tsvector('simple'::regconfig, translate(filename, '._-()[]', '       '))"


class CollectionQuerySet(models.QuerySet["Collection"]):
    def for_user(self, user: "User") -> "CollectionQuerySet":
        return self.filter(owner=user)

    def counted(self, user: "User") -> "CollectionQuerySet":
        """The user's, with how many documents are in each: of the rows of the page alone, and read in the index alone.

        A join with GROUP BY reads the memberships of all the owner's collections, also of those that LIMIT cuts off.
        """
        from documents.models import Membership

        inside = Membership.objects.filter(owner=user, collection=OuterRef("pk")).order_by()
        size = Subquery(inside.values("collection").annotate(size=Count("*")).values("size"))
        return self.for_user(user).annotate(document_count=Coalesce(size, 0))


class DocumentQuerySet(SiftedQuerySet["Document"]):
    def for_user(self, user: "User | int") -> "DocumentQuerySet":
        return self.filter(owner=user)

    def in_collection(self, collection_id: UUID) -> "DocumentQuerySet":
        return self.filter(memberships__owner=models.F("owner"), memberships__collection=collection_id)

    def starting(self, text: str) -> "DocumentQuerySet":
        """Whose name starts so, in whichever case."""
        return self.alias(lower_name=Lower("filename")).filter(lower_name__startswith=text.lower())

    def with_collections(self, user: "User | int") -> "DocumentQuerySet":
        """The user's, with what they are in."""
        from documents.models import Membership

        memberships = Membership.objects.filter(owner=user).only("owner_id", "document_id", "collection_id")
        return self.for_user(user).prefetch_related(Prefetch("memberships", queryset=memberships))

    def in_work(self) -> "DocumentQuerySet":
        return self.filter(status__in=self.model.IN_WORK)

    def failed(self) -> "DocumentQuerySet":
        return self.filter(status=self.model.Status.FAILED)

    def claimable(self) -> "DocumentQuerySet":
        """Due, and leased by nobody who lives.

        In the order of document_claim_idx, so that stale statistics do not tempt the planner to scan the table.
        """
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        return self.in_work().filter(free, due_at__lte=Now()).order_by("owner", "due_at")


class DocumentTextQuerySet(models.QuerySet["DocumentText"]):
    def of(self, document: "Document") -> "DocumentTextQuerySet":
        return self.filter(owner=document.owner_id, document=document.id)


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def for_user(self, user: "User") -> "ChunkQuerySet":
        return self.filter(owner=user)

    def of(self, document: "Document") -> "ChunkQuerySet":
        """A document's chunks; both columns of the key are named, so that one partition is read."""
        return self.filter(owner_id=document.owner_id, document_id=document.id).order_by("position")

    def listed(self) -> "ChunkQuerySet":
        return self.defer("tsv", "words")
