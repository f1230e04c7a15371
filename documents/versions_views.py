"""The page that offers to replace an earlier version of a document."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods

from documents.models import Document
from documents.replacing import CannotReplace, keep_both, replace_document, replaceable_by, settle_upload
from documents.services import DocumentGone, Upload
from documents.versions import current_version
from ragsite.accounts.callers import caller
from ragsite.pages import back, is_fragment, private


@private
@require_http_methods(["GET", "HEAD", "POST"])
def replace(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask whether a document shall replace its namesake, then have it so; or keep both after all."""
    document = get_object_or_404(Document.objects.for_user(caller(request)).select_related("replaces"), pk=pk)
    earlier = document.replaces or replaceable_by(document)
    if request.method != "POST":
        return _offer(request, {"document": document, "earlier": earlier, "next": request.GET.get("next", "")})
    if "keep" in request.POST:
        keep_both(owner_id=document.owner_id, document=document.id)
    elif earlier:
        _replace(request, document, earlier)
    return back(request, "library")


def _offer(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    if is_fragment(request):
        return render(request, "documents/replace.html", context)
    return render(request, "panel.html", {**context, "panel": "documents/replace.html"})


def _replace(request: HttpRequest, document: Document, earlier: Document) -> None:
    try:
        replace_document(owner_id=document.owner_id, document=document.id, replaced=earlier.id)
    except (DocumentGone, CannotReplace):
        messages.error(request, "There is nothing to replace any more.")
        return
    messages.success(request, f"“{document.filename}” replaces the earlier version as soon as it is ready.")


def offer_replacement(request: HttpRequest, upload: Upload) -> None:
    """Tell who has uploaded a file without JavaScript that another one has its name."""
    namesake = settle_upload(upload)
    if namesake:
        page = reverse("library-replace", args=[upload.document.id])
        told = '“{}” is there already from {}. <a href="{}">Replace it?</a>'
        day = date_format(namesake.uploaded_at, "j F Y")
        messages.warning(request, format_html(told, namesake.filename, day, page))


def to_newer_version(request: HttpRequest, pk: UUID) -> HttpResponse:
    """From a document that was to the one that has taken its place. Raises Http404."""
    newer = current_version(caller(request).pk, pk)
    if newer is None:
        raise Http404
    return redirect("library-document", newer)
