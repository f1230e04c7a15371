"""Documents and collections in the admin: how their processing went, and what can be done about it.

Nobody reads people's texts here without the permission ``documents.view_document_text``.
"""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from documents import services
from documents.models import Chunk, Collection, Document
from documents.queue import panel
from documents.queue.state import queue_of_site
from documents.queue.why import why
from ragsite.accounts.callers import caller
from ragsite.admin_paging import BigTableAdmin

CHUNKS_SHOWN = 50
TEXT_PERMISSION = "documents.view_document_text"


class OwnedAdmin(BigTableAdmin):
    """Rows that belong to people: found by exact id or by owner, which is what the indexes serve."""

    list_select_related = ("owner",)
    search_fields = ("id",)
    search_help_text = "An exact id, or the username of an owner."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(search_term)), False
        except ValueError:
            return queryset.filter(owner__username=search_term), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return _log(request, [obj], CHANGE, message)[0]

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> list[LogEntry]:
        return _log(request, queryset, DELETION)


def _log(request: HttpRequest, rows: Iterable[Any], action: int, message: Any = "") -> list[LogEntry]:
    """Like Django's, with the id in place of the name: the log outlives the row, and nothing of it should."""
    text = message if isinstance(message, str) else json.dumps(message)
    entries = (
        LogEntry(
            user_id=caller(request).pk,
            content_type=ContentType.objects.get_for_model(row),
            object_id=row.pk,
            object_repr=str(row.pk),
            action_flag=action,
            change_message=text,
        )
        for row in rows
    )
    return LogEntry.objects.bulk_create(entries)


@admin.register(Document)
class DocumentAdmin(OwnedAdmin):
    list_display = ("filename", "owner", "status", "content_type", "size", "chunk_count", "error_code", "uploaded_at")
    list_filter = ("status",)
    actions = ("retry", "reprocess")
    fields = (
        "id", "filename", "owner", "content_type", "size", "status", "searchable", "language",
        "page_count", "page_kind", "chunk_count", "stage_progress", "stage_times",
        "reason", "error_code", "error_detail", "waiting_for", "attempts",
        "crashes", "lease_expires_at", "due_at", "uploaded_at", "processed_at", "updated_at",
    )  # fmt: skip
    readonly_fields = fields
    text_fields = ("title", "chunks")

    def get_urls(self) -> list[Any]:
        again = path("<uuid:pk>/retry/", self.admin_site.admin_view(panel.retry), name="documents_document_retry")
        return [again, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return super().get_queryset(request).defer("title")

    def get_fields(self, request: HttpRequest, obj: Document | None = None) -> tuple[str, ...]:
        return (*self.fields, *self.text_fields) if request.user.has_perm(TEXT_PERMISSION) else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Document | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With a line about the whole site's queue."""
        queue = queue_of_site()
        failed = f"{queue.failed} failed" if queue.failed else ""
        told = "; ".join(filter(None, (queue.words or "Nothing is in work", failed)))
        return super().changelist_view(request, {**(extra_context or {}), "subtitle": told})

    @admin.display(description="Why it is (not) done")
    def reason(self, document: Document) -> str:
        found = why(document)
        if found.state == "processed_with_warnings":  # which may name what the file holds
            return "It is processed, but something in it could not be read."
        return " ".join(filter(None, (found.sentence, found.estimate.capitalize())))

    @admin.display(description="Seconds by stage")
    def stage_times(self, document: Document) -> str:
        return ", ".join(f"{stage} {seconds}" for stage, seconds in document.stage_seconds.items()) or "-"

    @admin.display(description=f"Chunks (the first {CHUNKS_SHOWN})")
    def chunks(self, document: Document) -> SafeString:
        rows = Chunk.objects.of(document).listed()[:CHUNKS_SHOWN]
        cells = ((chunk.position, chunk.page or "-", chunk.token_count, chunk.text) for chunk in rows)
        head = "<tr><th>#</th><th>Page</th><th>Tokens</th><th>Text</th></tr>"
        body = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", cells)
        return format_html("<table>{}{}</table>", SafeString(head), body)

    @admin.action(description="Retry those that failed", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.message_user(request, f"{services.retry_documents(queryset)} are tried again.", messages.SUCCESS)

    @admin.action(description="Process anew", permissions=["change"])
    def reprocess(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.message_user(request, f"{services.reprocess_documents(queryset)} are processed anew.", messages.SUCCESS)

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        services.delete_documents(owner_id=obj.owner_id, documents=[obj.id])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        for owner_id in set(queryset.values_list("owner_id", flat=True)):
            ids = queryset.filter(owner_id=owner_id).values_list("id", flat=True)
            services.delete_documents(owner_id=owner_id, documents=list(ids))


@admin.register(Collection)
class CollectionAdmin(OwnedAdmin):
    list_display = ("name", "owner", "created_at")
    fields = readonly_fields = ("id", "name", "owner", "created_at", "updated_at")

    def delete_model(self, request: HttpRequest, obj: Collection) -> None:
        services.delete_collection(collection=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Collection]) -> None:
        for collection in queryset:
            services.delete_collection(collection=collection)
