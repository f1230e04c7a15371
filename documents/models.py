"""What people own: documents, their collections, their chunks and the chunks' embeddings."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Length, Lower, Now
from django.db.models.lookups import LessThanOrEqual

from documents.places import header_over, heading_path
from documents.querysets import (
    FILENAME_WORDS,
    ChunkQuerySet,
    CollectionQuerySet,
    DocumentQuerySet,
    DocumentTextQuerySet,
)
from ragsite.fields import HalfVectorField, new_id
from ragsite.sharding.models import OwnedForeignKey, OwnedModel, OwnedOneToOneField

INSTRUCTIONS_LENGTH = 4000


def file_path(document: "Document", _filename: str) -> str:
    """Where a document's file lies in the storage: by ids alone, so that a name from a user never becomes a path."""
    return f"{document.owner_id}/{document.id}/{uuid.uuid4().hex}"


class Collection(OwnedModel):
    """A named set of documents; a document may be in several."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No index of its own: the unique (owner, id) below begins with it. The same holds for the owners of other tables.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="collections", db_index=False)
    name = models.CharField(max_length=200)
    instructions = models.TextField(
        blank=True,
        default="",
        db_default="",
        max_length=INSTRUCTIONS_LENGTH,
        help_text="What a language model is told when this collection is asked.",
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        db_table = "documents_collection"
        constraints = [
            # The target of the composite foreign keys of documents_membership.
            models.UniqueConstraint(fields=["owner", "id"], name="documents_collection_owner_id_uniq"),
            models.UniqueConstraint("owner", Lower("name"), name="documents_collection_owner_name_uniq"),
            models.CheckConstraint(condition=~Q(name=""), name="documents_collection_name_check"),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("instructions"), INSTRUCTIONS_LENGTH),
                name="documents_collection_instructions_check",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Document(OwnedModel):
    """A file of one owner, and how far its processing is."""

    class Status(models.TextChoices):
        UPLOADED = "uploaded"
        EXTRACTING = "extracting"
        CHUNKING = "chunking"
        EMBEDDING = "embedding"
        PROCESSED = "processed"
        FAILED = "failed"

    class PageKind(models.TextChoices):
        PAGE = "page"
        SLIDE = "slide"
        SHEET = "sheet"
        PART = "part"

    IN_WORK = (Status.UPLOADED, Status.EXTRACTING, Status.CHUNKING, Status.EMBEDDING)
    LARGE_BYTES = 1 << 20
    """From here on a document may take so long that small ones should not wait behind it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="documents", db_index=False)
    filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=150)
    size = models.BigIntegerField(help_text="Bytes.")
    sha256 = models.BinaryField(max_length=32, editable=False)
    file = models.FileField(upload_to=file_path, max_length=200)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.UPLOADED)
    searchable = models.BooleanField(default=False, help_text="Its words can be found.")
    title = models.CharField(max_length=300, blank=True)
    language = models.CharField(max_length=8, blank=True)
    page_count = models.IntegerField(null=True)
    page_kind = models.CharField(
        max_length=5, choices=PageKind.choices, default=PageKind.PAGE, help_text="What is counted as a page."
    )
    warnings = models.JSONField(default=list, help_text="Sentences about what the file holds and could not be read.")
    chunk_count = models.IntegerField(default=0)
    stage_progress = models.FloatField(default=0, help_text="0 to 1 in the present stage.")
    stage_started_at = models.DateTimeField(null=True)
    stage_seconds = models.JSONField(default=dict, help_text="Seconds by stage that is done.")
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    error_retryable = models.BooleanField(default=False)
    uploaded_at = models.DateTimeField(db_default=Now())
    processed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)
    # The lease: who works on it (a token per attempt), until when, and when it may be tried again.
    attempt = models.UUIDField(null=True, editable=False)
    attempts = models.SmallIntegerField(
        default=0, editable=False, help_text="Since the last progress; sets the backoff."
    )
    crashes = models.SmallIntegerField(default=0, editable=False, help_text="Attempts whose worker died.")
    waiting_for = models.TextField(blank=True, help_text="What a transient failure waits for, for people.")
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)
    restarted_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When it was last put back to the beginning; its way is measured from then.",
    )
    # The database sets it to NULL when that one is deleted (composite foreign key in the migration).
    replaces = OwnedForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        related_name="replacements",
        db_constraint=False,
        db_index=False,
        help_text="The earlier version whose place it takes when it is processed; until then it is not searched.",
    )

    collections: models.ManyToManyField = models.ManyToManyField(
        Collection, through="Membership", through_fields=("document", "collection"), related_name="documents"
    )

    objects = DocumentQuerySet.as_manager()

    class Meta:
        db_table = "documents_document"
        permissions = [("view_document_text", "Can see the titles and texts of people's documents")]
        constraints = [
            # The target of the composite foreign keys of chunks, embeddings, texts and memberships.
            models.UniqueConstraint(fields=["owner", "id"], name="documents_document_owner_id_uniq"),
            # The same content twice by one owner is one document.
            models.UniqueConstraint(fields=["owner", "sha256"], name="documents_document_owner_sha256_uniq"),
            models.CheckConstraint(
                condition=Q(status__in=["uploaded", "extracting", "chunking", "embedding", "processed", "failed"]),
                name="documents_document_status_check",
            ),
            models.CheckConstraint(
                condition=Q(page_kind__in=["page", "slide", "sheet", "part"]), name="documents_document_page_kind_check"
            ),
            models.CheckConstraint(condition=Q(size__gt=0), name="documents_document_size_check"),
            # One replacement at a time; also which documents no search reads yet.
            models.UniqueConstraint(
                fields=["owner", "replaces"],
                condition=Q(replaces__isnull=False),
                name="documents_document_replaces_uniq",
            ),
            models.CheckConstraint(condition=~Q(replaces=F("id")), name="documents_document_replaces_check"),
            models.CheckConstraint(
                condition=Q(stage_progress__gte=0, stage_progress__lte=1), name="documents_document_progress_check"
            ),
            models.CheckConstraint(
                condition=Q(status="failed") ^ Q(error_code=""), name="documents_document_error_check"
            ),
        ]
        indexes = [
            # GET /documents: newest first (the default order), oldest first.
            models.Index(fields=["owner", "uploaded_at", "id"], name="document_uploaded_idx"),
            # GET /documents?status=…, newest first.
            models.Index(fields=["owner", "status", "uploaded_at", "id"], name="document_status_idx"),
            # GET /documents?content_type=…, newest first.
            models.Index(fields=["owner", "content_type", "uploaded_at", "id"], name="document_type_idx"),
            # GET /documents?ordering=filename.
            models.Index("owner", Lower("filename"), "id", name="document_filename_idx"),
            # GET /documents?search= by prefix, in databases whose order is not C: there LIKE needs text_pattern_ops,
            # which cannot serve an ORDER BY. Migration 0017 drops it where the order is C: the index above serves both.
            models.Index(
                F("owner"),
                OpClass(Lower("filename"), "text_pattern_ops"),
                F("id"),
                name="document_name_idx",
            ),
            # GET /documents?ordering=size.
            models.Index(fields=["owner", "size", "id"], name="document_size_idx"),
            # GET /documents?search= by words; the owner inside the GIN index keeps others' names out of it.
            GinIndex(
                RawSQL("(ARRAY[owner_id])", ()),
                RawSQL(f"({FILENAME_WORDS})", ()),
                name="document_words_gin",
            ),
            # Which languages does an owner's library hold (every search asks, by a loose scan).
            models.Index(fields=["owner", "language"], name="document_language_idx"),
            # The admin's list by status, newest first (ids are sorted by time).
            models.Index(fields=["status", "-id"], name="document_admin_idx"),
            # The worker's claim: each owner's next due row; finished documents are not in it.
            models.Index(
                fields=["owner", "due_at", "id"],
                condition=Q(status__in=["uploaded", "extracting", "chunking", "embedding"]),
                name="document_claim_idx",
            ),
            # The same for a worker that takes only large documents (documents.queue.kinds).
            models.Index(
                fields=["owner", "due_at", "id"],
                condition=Q(status__in=["uploaded", "extracting", "chunking", "embedding"], size__gte=1 << 20),
                name="document_bulk_idx",
            ),
            # How many documents of each owner are being worked on: the claim's fairness.
            models.Index(
                fields=["lease_expires_at", "owner"],
                condition=Q(lease_expires_at__isnull=False),
                name="document_lease_idx",
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def is_large(self) -> bool:
        return self.size >= self.LARGE_BYTES


class EarlierVersion(OwnedModel):
    """A document that was, and the one that has taken its place."""

    id = models.UUIDField(primary_key=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    # Deleting is the database's: the migration adds a composite foreign key that cascades.
    document = OwnedForeignKey(
        Document, models.DO_NOTHING, related_name="earlier_versions", db_constraint=False, db_index=False
    )
    replaced_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "documents_earlierversion"
        indexes = [
            # The cascade from a document and from a user; the versions that move on to the next.
            models.Index(fields=["owner", "document"], name="earlierversion_document_idx")
        ]


class Membership(OwnedModel):
    """A document in a collection."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    collection = OwnedForeignKey(Collection, models.CASCADE, related_name="memberships")
    document = OwnedForeignKey(Document, models.CASCADE, related_name="memberships")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "documents_membership"
        constraints = [
            # A collection's documents; search by collection.
            models.UniqueConstraint(
                fields=["owner", "collection", "document"], name="documents_membership_collection_uniq"
            )
        ]
        indexes = [
            # The collections of a page of documents.
            models.Index(fields=["owner", "document"], name="membership_document_idx")
        ]


class DocumentText(OwnedModel):
    """The extracted text, apart from the row that lists read. Offsets everywhere are code points into it."""

    document = OwnedOneToOneField(Document, models.CASCADE, primary_key=True, related_name="content")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    text = models.TextField()
    pages = models.JSONField(default=list, help_text="[{number, start, end}], empty where the format has no pages.")
    blocks = models.JSONField(default=list, help_text="[{kind, start, end, level, page}] in order.")

    objects = DocumentTextQuerySet.as_manager()

    class Meta:
        db_table = "documents_text"


class Chunk(models.Model):
    """A passage of a document: the unit of retrieval."""

    pk = models.CompositePrimaryKey("owner", "document_id", "position")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, related_name="+", db_index=False)
    document_id = models.UUIDField()
    # Joins on both columns, so that PostgreSQL prunes to the owner's partition; a plain key would query all sixteen.
    document = models.ForeignObject(
        Document,
        models.DO_NOTHING,
        from_fields=["owner", "document_id"],
        to_fields=["owner", "id"],
        related_name="chunks",
    )
    position = models.IntegerField(help_text="0, 1, 2… without gaps.")
    kind = models.CharField(max_length=10, default="paragraph")
    start = models.IntegerField(help_text="Code point in the document's text.")
    end = models.IntegerField(help_text="Exclusive.")
    page = models.IntegerField(null=True)
    page_label = models.TextField(db_default="", help_text="The page's own, or a sheet's or attachment's name.")
    headings = ArrayField(models.TextField(), default=list)
    table_header = models.TextField(db_default="", help_text="The line that names the columns, where it is a table.")
    title = models.TextField(blank=True)
    text = models.TextField()
    words = models.TextField(null=True, help_text="For the word index, where a script has no spaces: n-grams.")
    token_count = models.IntegerField()
    language = models.CharField(max_length=8, blank=True)
    sample_key = models.IntegerField(
        help_text="Random: the first rows in its order are a sample of the owner's chunks."
    )
    tsv = models.GeneratedField(
        expression=Func(
            F("language"), F("words"), F("title"), F("headings"), F("text"), function="documents_chunk_tsvector"
        ),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    objects = ChunkQuerySet.as_manager()

    class Meta:
        db_table = "documents_chunk"
        constraints = [
            models.CheckConstraint(condition=Q(position__gte=0), name="documents_chunk_position_check"),
            models.CheckConstraint(condition=Q(start__gte=0, end__gt=F("start")), name="documents_chunk_span_check"),
        ]
        indexes = [
            # Search by words; the owner inside the index keeps others' postings out.
            GinIndex(RawSQL("(ARRAY[owner_id])", ()), F("tsv"), name="chunk_words_gin", fastupdate=False),
            # Document frequencies by sample, at query time.
            models.Index(fields=["owner", "sample_key"], name="chunk_sample_idx"),
        ]

    @property
    def path(self) -> list[str]:
        """The headings, without what the place and the table's header say."""
        return heading_path(self.headings, self.page_label, self.table_header)

    @property
    def columns(self) -> str:
        """The line that names the columns, where it is not in the text itself."""
        return header_over(self.text, self.kind, self.table_header)


class EmbeddingModel(models.Model):
    """A model whose vectors are kept; two may stand side by side while one replaces the other."""

    id = models.SmallAutoField(primary_key=True)
    name = models.CharField(max_length=200)
    dimensions = models.SmallIntegerField()

    class Meta:
        db_table = "documents_embeddingmodel"
        constraints = [models.UniqueConstraint(fields=["name"], name="documents_embeddingmodel_name_uniq")]

    def __str__(self) -> str:
        return self.name


class Embedding(models.Model):
    """A vector of a chunk, or of a part of it: inserted once, never updated."""

    pk = models.CompositePrimaryKey("owner", "document_id", "position", "part", "model")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, related_name="+", db_index=False)
    document_id = models.UUIDField()
    position = models.IntegerField()
    part = models.SmallIntegerField(default=0, help_text="1, 2, 3…: a sentence; 0: the chunk, by their mean if any.")
    start = models.IntegerField(null=True, help_text="What it stands for, in the document's text; null: the chunk.")
    end = models.IntegerField(null=True, help_text="Exclusive.")
    model = models.ForeignKey(EmbeddingModel, models.DO_NOTHING, related_name="+", db_index=False)
    content_hash = models.BinaryField(max_length=32, help_text="SHA-256 of what was embedded.")
    vector = HalfVectorField()

    class Meta:
        db_table = "documents_embedding"
        indexes = [
            # What the owner has embedded before is not computed again.
            models.Index(fields=["owner", "content_hash"], name="embedding_hash_idx")
        ]
