"""Conversations, their messages, and what the answers in them point at."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from chat.querysets import BODY_WORDS, TITLE_WORDS, CitationQuerySet, ConversationQuerySet, MessageQuerySet
from documents.models import Document
from documents.places import place
from ragsite.fields import new_id
from ragsite.sharding.models import OwnedForeignKey, OwnedModel, OwnedOneToOneField

TITLE_LENGTH = 200
MODEL_NAME_LENGTH = 40


class Style(models.TextChoices):
    """How answers are to be written; without one, as the engine finds best."""

    SHORT = "short"
    FULL = "full"
    QUOTES = "quotes"


class Conversation(OwnedModel):
    """A thread of questions and answers of one owner, and the scope that its questions are asked in."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations", db_index=False)
    title = models.CharField(max_length=TITLE_LENGTH, blank=True, help_text="Empty until the first question.")
    pinned = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    # No value means the whole library; a list whose documents are all deleted means nothing, never everything.
    scope_documents = ArrayField(models.UUIDField(), null=True, blank=True)
    scope_collections = ArrayField(models.UUIDField(), null=True, blank=True)
    language_model = models.CharField(
        max_length=MODEL_NAME_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="One of those configured; empty: the first.",
    )
    style = models.CharField(max_length=6, choices=Style.choices, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now(), help_text="The newest question or answer.")

    objects = ConversationQuerySet.as_manager()

    class Meta:
        db_table = "chat_conversation"
        constraints = [
            # The target of the composite foreign keys of messages and their bodies.
            models.UniqueConstraint(fields=["owner", "id"], name="chat_conversation_owner_id_uniq"),
            models.CheckConstraint(
                condition=Q(style__in=["", "short", "full", "quotes"]), name="chat_conversation_style_check"
            ),
        ]
        indexes = [
            # GET /conversations: newest activity first.
            models.Index(fields=["owner", "updated_at", "id"], name="conversation_updated_idx"),
            # GET /conversations?pinned=true.
            models.Index(
                fields=["owner", "updated_at", "id"], condition=Q(pinned=True), name="conversation_pinned_idx"
            ),
            # GET /conversations?archived=true; those that are not are read from conversation_updated_idx.
            models.Index(
                fields=["owner", "updated_at", "id"],
                condition=Q(archived_at__isnull=False),
                name="conversation_archived_idx",
            ),
            # Which conversations ask a document that a newer version replaces; few have chosen documents at all.
            GinIndex(
                fields=["scope_documents"],
                condition=Q(scope_documents__isnull=False),
                name="conversation_scope_gin",
            ),
            # GET /conversations?search=, the title; the owner inside the GIN index keeps others' titles out of it.
            GinIndex(RawSQL("(ARRAY[owner_id])", ()), RawSQL(f"({TITLE_WORDS})", ()), name="conversation_title_gin"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Message(OwnedModel):
    """A question or an answer; what it says stands apart, in MessageBody."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETE = "complete"
        STOPPED = "stopped"
        INTERRUPTED = "interrupted"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    # Deleting is the database's: the migration adds a composite foreign key that cascades.
    conversation = OwnedForeignKey(
        Conversation, models.DO_NOTHING, related_name="messages", db_constraint=False, db_index=False
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.COMPLETE)
    stop_requested = models.BooleanField(default=False, editable=False)
    engine = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=200, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    timings = models.JSONField(default=dict, help_text="Seconds by part.")
    cached = models.BooleanField(default=False)
    prompt_tokens = models.IntegerField(null=True)
    completion_tokens = models.IntegerField(null=True)
    support = models.JSONField(
        null=True, help_text="{claims, supported, unsupported: [{start, end, reason}]}, of a model's answer."
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        db_table = "chat_message"
        permissions = [("view_message_text", "Can read what messages, titles and citations say")]
        constraints = [
            # The target of the composite foreign keys of bodies, citations and traces.
            models.UniqueConstraint(fields=["owner", "id"], name="chat_message_owner_id_uniq"),
            # One answer at a time in a conversation; also the way to all running answers (the sweep).
            models.UniqueConstraint(
                fields=["conversation"], condition=Q(status="running"), name="chat_message_one_running_uniq"
            ),
            models.CheckConstraint(condition=Q(role__in=["user", "assistant"]), name="chat_message_role_check"),
            models.CheckConstraint(
                condition=Q(status__in=["running", "complete", "stopped", "interrupted", "failed"]),
                name="chat_message_status_check",
            ),
            models.CheckConstraint(condition=Q(status="failed") ^ Q(error_code=""), name="chat_message_error_check"),
        ]
        indexes = [
            # A conversation's messages in their order, and the newest ones for the prompt.
            models.Index(fields=["conversation", "created_at", "id"], name="message_conversation_idx"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class MessageBody(OwnedModel):
    """What a message says, apart from the row that lists read."""

    message = OwnedOneToOneField(Message, models.DO_NOTHING, primary_key=True, related_name="body", db_constraint=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    conversation_id = models.UUIDField(help_text="The message's, so that a search needs no join.")
    content = models.TextField()
    words = models.TextField(null=True, help_text="For the word index, where a script has no spaces: n-grams.")

    class Meta:
        db_table = "chat_messagebody"
        indexes = [
            # GET /conversations?search=, what was said. An expression and not a generated column: nothing reads the
            # tsvector itself, and every INSERT would send one back.
            GinIndex(RawSQL("(ARRAY[owner_id])", ()), RawSQL(f"({BODY_WORDS})", ()), name="messagebody_words_gin"),
            # The bodies of a conversation, where a search looks through the list; the cascade from a user. That from
            # a message is the key's.
            models.Index(fields=["owner", "conversation_id"], name="messagebody_conversation_idx"),
        ]


class Citation(OwnedModel):
    """Where a marker of an answer points. The copy of the quote outlives the document's reprocessing."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    message = OwnedForeignKey(Message, models.DO_NOTHING, related_name="citations", db_constraint=False, db_index=False)
    marker = models.SmallIntegerField()
    # The database sets it to NULL when the document is deleted (composite foreign key in the migration).
    document_id = models.UUIDField(null=True)
    filename = models.CharField(max_length=255, blank=True)
    page = models.IntegerField(null=True)
    page_kind = models.CharField(max_length=5, choices=Document.PageKind.choices, default=Document.PageKind.PAGE)
    page_label = models.TextField(
        default="", db_default="", blank=True, help_text="The page's own, or a sheet's or attachment's."
    )
    headings = ArrayField(models.TextField(), default=list, blank=True)
    table_header = models.TextField(
        default="", db_default="", blank=True, help_text="What names the columns of a quoted row."
    )
    start = models.IntegerField(help_text="Code point in the document's text.")
    end = models.IntegerField(help_text="Exclusive.")
    answer_start = models.IntegerField(null=True, help_text="Of the likely answer in the quote, where one is seen.")
    answer_end = models.IntegerField(null=True, help_text="Exclusive.")
    quote = models.TextField(blank=True)
    verified = models.BooleanField(default=False, help_text="The quote stood there verbatim when it was stored.")
    earlier_version = models.BooleanField(
        default=False, help_text="The document has taken the place of the one quoted: the offsets are not its own."
    )

    objects = CitationQuerySet.as_manager()

    class Meta:
        db_table = "chat_citation"
        constraints = [
            models.CheckConstraint(condition=Q(marker__gt=0), name="chat_citation_marker_check"),
            models.CheckConstraint(condition=Q(start__gte=0, end__gt=F("start")), name="chat_citation_span_check"),
            models.CheckConstraint(
                condition=Q(answer_start=None, answer_end=None)
                | Q(answer_start__gte=F("start"), answer_end__gt=F("answer_start"), answer_end__lte=F("end")),
                name="chat_citation_answer_check",
            ),
            models.CheckConstraint(
                condition=Q(page_kind__in=["page", "slide", "sheet", "part"]), name="chat_citation_page_kind_check"
            ),
            # What came of a deleted document is gone with it.
            models.CheckConstraint(
                condition=Q(document_id__isnull=False)
                | Q(quote="", filename="", page_label="", headings=[], table_header=""),
                name="chat_citation_deleted_check",
            ),
            # An answer's citations, in order.
            models.UniqueConstraint(fields=["message", "marker"], name="chat_citation_message_marker_uniq"),
        ]
        indexes = [
            # What cites a document that is being deleted.
            models.Index(fields=["owner", "document_id"], name="citation_document_idx"),
            # The cascade from a message.
            models.Index(fields=["owner", "message"], name="citation_owner_message_idx"),
        ]

    def __str__(self) -> str:
        return f"[{self.marker}]"

    @property
    def place(self) -> str:
        """``page 3``, ``sheet Budget``; empty where the format has no pages."""
        return place(self.page_kind, self.page, self.page_label)


class RetrievalTrace(OwnedModel):
    """How an answer came to its passages; no list reads it.

    Partitioned by the week of the message, with which the message's id begins, so that old ones go with their
    partition; its key in the database is (owner, message), and stands for an index on them.
    """

    message = OwnedOneToOneField(
        Message, models.DO_NOTHING, primary_key=True, related_name="trace", db_constraint=False
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    query = models.TextField(help_text="What was searched for.")
    scope = models.JSONField(default=dict, help_text="{documents, collections}; null for the whole library.")
    passages = models.JSONField(default=list, help_text="[{number, document, page, position, start, end, score}].")

    class Meta:
        db_table = "chat_retrievaltrace"
