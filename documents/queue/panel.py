"""The queue on the service level's page: what waits, until when, and why any document is not done."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from documents import services
from documents.models import Document
from documents.queue.state import Queue, queue_of_site
from documents.queue.why import Why, why

TEMPLATE = "admin/documents/queue_panel.html"
LISTED = 5
"""Of those that wait longest, and of those that failed last: each costs some queries."""


@dataclass(frozen=True)
class Line:
    """A document that is not done."""

    document: Document
    why: Why
    may_retry: bool

    @property
    def sentence(self) -> str:
        """Warnings may name what the file holds, which is not for everybody here."""
        if self.why.state == "processed_with_warnings":
            return "It is processed, but something in it could not be read."
        return self.why.sentence


def queue_panel(request: HttpRequest) -> dict[str, Any]:
    """Given the page's request, which may name a ``document``."""
    asked = request.GET.get("document", "").strip()
    found = _found(asked) if asked else None
    queue = queue_of_site()
    return {
        "queue": queue,
        "asked": asked,
        "unknown": bool(asked) and found is None,
        "found": found and _line(request, found),
        "lines": [_line(request, document) for document in _listed(queue)],
    }


def _listed(queue: Queue) -> list[Document]:
    rows = Document.objects.defer("title").select_related("owner")
    waiting = list(rows.filter(status__in=Document.IN_WORK).order_by("due_at")[:LISTED]) if queue.open else []
    failed = list(rows.failed().order_by("-id")[:LISTED]) if queue.failed else []
    return waiting + failed


def _found(asked: str) -> Document | None:
    try:
        return Document.objects.defer("title").select_related("owner").filter(id=UUID(asked)).first()
    except ValueError:
        return None


def _line(request: HttpRequest, document: Document) -> Line:
    may_retry = document.error_retryable and request.user.has_perm("documents.change_document")
    return Line(document, why(document), may_retry)


@require_POST
def retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Try a failed document again; then back to the page."""
    back = HttpResponseRedirect(f"{reverse('service-level')}?document={pk}")
    if not request.user.has_perm("documents.change_document"):
        messages.error(request, "You may not change documents.")
        return back
    document = get_object_or_404(Document, pk=pk)
    tried = services.retry_documents([document])
    messages.success(request, "It is tried again." if tried else "It is not one that failed.")
    return back
