"""An import, how far it is, and what became of each file."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ragsite.fields import new_id


def archive_path(job: "Import", _filename: str) -> str:
    """Where an archive waits: as documents lie, by ids alone, so that the same sweep finds what is left behind."""
    return f"{job.owner_id}/{job.id}/{uuid.uuid4().hex}"


class ImportQuerySet(models.QuerySet["Import"]):
    def for_user(self, user: Any) -> "ImportQuerySet":
        return self.filter(owner=user)

    def counted(self) -> "ImportQuerySet":
        """With how many files came to what: ``created``, ``known``, ``refused``, ``left_out``."""
        outcomes = ImportItem.Outcome
        return self.annotate(**{str(one): models.Count("items", filter=Q(items__outcome=one)) for one in outcomes})

    def unfinished(self) -> "ImportQuerySet":
        return self.filter(status__in=Import.IN_WORK)

    def claimable(self) -> "ImportQuerySet":
        """Due and nobody's: one at a time of each owner, so that nobody's imports wait behind another's hundred."""
        held = Import.objects.filter(owner=models.OuterRef("owner"), lease_expires_at__gt=Now())
        return self.unfinished().filter(due_at__lte=Now()).filter(~models.Exists(held)).order_by("due_at", "id")


class Import(models.Model):
    """Documents made from an archive or an address."""

    class Kind(models.TextChoices):
        ARCHIVE = "archive"
        ADDRESS = "address"

    class Status(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    IN_WORK = (Status.WAITING, Status.RUNNING)
    files_needed = Q(status__in=IN_WORK)
    """Of others the archive is gone, and no backup looks for it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="imports")
    kind = models.CharField(max_length=7, choices=Kind.choices)
    source = models.CharField(max_length=2000, help_text="The archive's name, or the address.")
    file = models.FileField(upload_to=archive_path, max_length=200, blank=True)
    collections = ArrayField(models.UUIDField(), default=list)
    folders = models.BooleanField(default=False, help_text="Each folder of the archive is a collection too.")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.WAITING)
    total = models.IntegerField(null=True, help_text="Files in it; null until it has been opened.")
    done = models.IntegerField(default=0, help_text="Files that have been looked at.")
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    waiting_for = models.TextField(blank=True, help_text="What a passing fault waits for, for people.")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    # The lease: who works on it, until when, and when it may be tried again.
    attempt = models.UUIDField(null=True, editable=False)
    crashes = models.SmallIntegerField(default=0, editable=False, help_text="Attempts that were killed.")
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ImportQuerySet.as_manager()

    class Meta:
        db_table = "documents_import"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "running", "done", "failed"]), name="documents_import_status_check"
            ),
            models.CheckConstraint(condition=Q(kind__in=["archive", "address"]), name="documents_import_kind_check"),
            models.CheckConstraint(
                condition=Q(status="failed") ^ Q(error_code=""), name="documents_import_error_check"
            ),
        ]
        indexes = [
            # GET /imports: newest first.
            models.Index(fields=["owner", "created_at", "id"], name="import_created_idx"),
            # The claim, and how many are open of one owner; finished ones are not in it.
            models.Index(
                fields=["owner", "due_at"], condition=Q(status__in=["waiting", "running"]), name="import_claim_idx"
            ),
        ]

    def __str__(self) -> str:
        return self.source


class ImportItem(models.Model):
    """What became of one file of an import: a document, or a reason."""

    class Outcome(models.TextChoices):
        CREATED = "created"
        KNOWN = "known"
        REFUSED = "refused"
        LEFT_OUT = "left_out"

    job = models.ForeignKey(Import, models.CASCADE, related_name="items", db_column="import_id", db_index=False)
    position = models.IntegerField(help_text="0, 1, 2… in the archive's order.")
    name = models.CharField(max_length=1000, help_text="As the archive says; shown, never used as a path.")
    outcome = models.CharField(max_length=8, choices=Outcome.choices)
    document_id = models.UUIDField(null=True)
    code = models.CharField(max_length=50, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        db_table = "documents_importitem"
        constraints = [
            # GET /imports/{id}/items; and one line a file, whoever is killed in between.
            models.UniqueConstraint(fields=["job", "position"], name="documents_importitem_position_uniq"),
            models.CheckConstraint(
                condition=Q(outcome__in=["created", "known", "refused", "left_out"]),
                name="documents_importitem_outcome_check",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["created", "known"]) ^ Q(document_id=None),
                name="documents_importitem_document_check",
            ),
        ]
