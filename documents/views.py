"""Pages of the library."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from documents import services
from documents.caching import DOCUMENT_PAGE, LIBRARY_PAGE
from documents.filters import ORDERINGS, DocumentFilter
from documents.forms import CollectionForm, DocumentForm, SelectionForm
from documents.labels import KINDS, STATES
from documents.models import Chunk, Collection, Document
from documents.queue.outlook import Outlook, forecasts, site_outlook
from documents.queue.state import queue_of
from documents.queue.why import remaining_words, why
from documents.versions import have_replaced
from documents.versions_views import offer_replacement, to_newer_version
from documents.viewer import Passage, has_pictures, page_of, show_pages, show_text
from ragsite.accounts.callers import caller
from ragsite.api.keyset import InvalidCursor, Page, keyset_page
from ragsite.caching.views import cached_page, leave_out
from ragsite.pages import back, is_fragment, private

PAGE_SIZE = 50
CHUNKS_PAGE_SIZE = 20
SHOWN_COLLECTIONS = 500
SORTS = {
    "-uploaded_at": "Newest first",
    "uploaded_at": "Oldest first",
    "filename": "Name, A to Z",
    "-filename": "Name, Z to A",
    "-size": "Largest first",
    "size": "Smallest first",
}

View = Callable[..., HttpResponse]
read_or_write = require_http_methods(["GET", "HEAD", "POST"])


@private
@require_safe
@cached_page(LIBRARY_PAGE)
def library(request: HttpRequest) -> HttpResponse:
    """The list of documents; for htmx the list alone."""
    documents = DocumentFilter(
        request.GET, queryset=Document.objects.with_collections(caller(request)), request=request
    )
    ordering = request.GET.get("ordering") or "-uploaded_at"
    if not documents.is_valid() or ordering not in ORDERINGS:
        return redirect("library")
    try:
        page = keyset_page(documents.qs, ORDERINGS[ordering], request.GET.get("cursor"), PAGE_SIZE)
    except InvalidCursor:
        return redirect("library")
    context = _library_context(request, page, ordering)
    template = "documents/list.html" if is_fragment(request) else "documents/library.html"
    return render(request, template, context)


def _library_context(request: HttpRequest, page: Page, ordering: str) -> dict[str, Any]:
    collections = list(_own_collections(request)[:SHOWN_COLLECTIONS])
    _name_collections(page.items, collections)
    wanted = request.GET.copy()
    wanted.pop("cursor", None)
    return {
        "page": page,
        "collections": collections,
        "collection": next((entry for entry in collections if str(entry.id) == request.GET.get("collection")), None),
        "wanted": wanted,
        "narrowed": any(wanted.get(name) for name in ("search", "status", "content_type", "collection")),
        "query": wanted.urlencode(),
        "ordering": ordering,
        "sorts": SORTS,
        "states": STATES,
        "kinds": KINDS,
        **_in_work(request, page.items),
    }


def _in_work(request: HttpRequest, rows: list[Document]) -> dict[str, Any]:
    """What is in work at all, and which of those shown, each with the time that it still takes."""
    in_work = [row for row in rows if row.status in Document.IN_WORK]
    outlook = site_outlook()
    _foretell(in_work, outlook)
    queue = queue_of(caller(request), outlook)
    if queue.open:
        leave_out(request)
    return {"queue": queue, "in_work": in_work}


def _foretell(rows: list[Document], outlook: Outlook | None = None) -> None:
    found = forecasts(rows, outlook)
    for row in rows:
        row.estimate = remaining_words(found[row.id].remaining)  # type: ignore[attr-defined]


def _name_collections(rows: list[Document], collections: list[Collection]) -> None:
    by_id = {collection.id: collection for collection in collections}
    for row in rows:
        ids = (membership.collection_id for membership in row.memberships.all())
        row.shown_collections = [by_id[pk] for pk in ids if pk in by_id]  # type: ignore[attr-defined]


@private
@require_safe
def progress(request: HttpRequest) -> HttpResponse:
    """The state of the rows named, swapped in place; it asks again as long as anything is in work."""
    ids = [value for value in request.GET.getlist("id")[:PAGE_SIZE] if _is_uuid(value)]
    rows = list(_own_documents(request).filter(id__in=ids)) if ids else []
    response = render(request, "documents/progress.html", {"rows": rows, **_in_work(request, rows)})
    if have_replaced(rows):  # what they replaced is still shown in the list
        response["HX-Trigger"] = "replaced"
    return response


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def gone_is_not_found(view: View) -> View:
    """404 for what was deleted at the very moment that something was done to it."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except services.Gone as error:
            raise Http404 from error

    return wrapper


@private
@require_POST
@gone_is_not_found
def upload(request: HttpRequest) -> HttpResponse:
    """The way in without JavaScript: several files in one form."""
    collections = Collection.objects.for_user(caller(request)).filter(
        id__in=filter(_is_uuid, request.POST.getlist("collection"))
    )
    for file in request.FILES.getlist("file"):
        try:
            made = services.upload_document(
                owner=caller(request), file=file, filename=file.name or "", collections=list(collections)
            )
        except services.UploadRefused as refusal:
            messages.error(request, f"“{file.name}”: {refusal.detail}")
            continue
        told = "is uploaded" if made.created else "is in your library already"
        messages.success(request, f"“{made.document.filename}” {told}.")
        offer_replacement(request, made)
    return back(request, "library")


@private
@require_safe
@cached_page(DOCUMENT_PAGE, document="pk")
def document(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A document, opened at ``page`` or at the passage ``start``–``end``."""
    shown = Document.objects.with_collections(caller(request)).filter(pk=pk).first()
    if shown is None:
        return to_newer_version(request, pk)
    _name_collections([shown], list(_own_collections(request)[:SHOWN_COLLECTIONS]))
    context = {"document": shown, "with_pictures": has_pictures(shown), **_place(request, shown)}
    context["in_work"] = [shown] if shown.status in Document.IN_WORK else []
    if context["in_work"]:
        leave_out(request)
    _foretell(context["in_work"])
    return render(request, "documents/document.html", context)


@private
@require_safe
@cached_page(DOCUMENT_PAGE, document="pk")
def passage(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A passage where it stands, for the pane beside a chat: the page's picture, or the text around it."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    context = {"document": shown, "with_pictures": has_pictures(shown), **_place(request, shown, at_once=1)}
    if not is_fragment(request):
        return redirect(f"{shown_url(shown)}?{request.GET.urlencode()}")
    return render(request, "documents/passage.html", context)


def shown_url(shown: Document) -> str:
    """The document's page."""
    return f"/library/{shown.id}/"


def _place(request: HttpRequest, shown: Document, **kwargs: int) -> dict[str, Any]:
    """The pictures or the text that are asked for."""
    start, end = _number(request, "start"), _number(request, "end")
    span = Passage(start, end) if start is not None and end is not None and start < end else None
    if has_pictures(shown):
        number = _number(request, "page") or (page_of(shown, span) if span else None) or 1
        return {"passage": span, "pictures": show_pages(shown, number, span, **kwargs), "page_number": number}
    place = _number(request, "at")
    return {"passage": span, "window": show_text(shown, place if place is not None else start or 0, span)}


def _number(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 else None


@private
@require_safe
@cached_page(DOCUMENT_PAGE, document="pk")
def chunks(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The passages that a document was split into."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    try:
        page = keyset_page(Chunk.objects.of(shown).listed(), ("position",), request.GET.get("cursor"), CHUNKS_PAGE_SIZE)
    except InvalidCursor:
        return redirect("library-chunks", pk)
    template = "documents/chunk_list.html" if is_fragment(request) else "documents/chunks.html"
    return render(request, template, {"document": shown, "page": page})


@private
@read_or_write
@gone_is_not_found
def edit_document(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Rename a document, and say which collections it is in."""
    shown = get_object_or_404(Document.objects.with_collections(caller(request)), pk=pk)
    initial = {"filename": shown.filename, "collections": [row.collection_id for row in shown.memberships.all()]}
    form = DocumentForm(caller(request), request.POST or None, initial=initial)
    if form.is_valid():
        services.rename_document(document=shown, filename=form.cleaned_data["filename"])
        services.set_collections(document=shown, collections=list(form.cleaned_data["collections"]))
        messages.success(request, f"“{shown.filename}” is saved.")
        return back(request, "library")
    return _panel(request, "documents/edit.html", {"document": shown, "form": form})


@private
@read_or_write
def delete_document(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask whether it is meant, then delete."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    if request.method != "POST":
        return _panel(request, "documents/delete.html", {"documents": [shown], "action": request.path})
    services.delete_documents(owner_id=shown.owner_id, documents=[shown.id])
    messages.success(request, f"“{shown.filename}” is deleted.")
    return back(request, "library")


@private
@require_POST
def retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Try a failed document again."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    services.retry_documents([shown])
    return back(request, "library")


@private
@require_POST
def retry_all(request: HttpRequest) -> HttpResponse:
    """Try all failed documents again, or those of a collection."""
    failed = _own_documents(request).failed()
    if _is_uuid(collection := request.POST.get("collection", "")):
        failed = failed.in_collection(collection)
    count = services.retry_failed(failed)
    messages.success(request, f"{count} document{' is' if count == 1 else 's are'} tried again.")
    return back(request, "library")


@private
@require_safe
def explain(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Why a document is not done, and what helps."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    return _panel(request, "documents/why.html", {"document": shown, "why": why(shown)})


@private
@require_POST
def reprocess(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Process a document anew."""
    shown = get_object_or_404(_own_documents(request), pk=pk)
    if not services.reprocess_documents([shown]):
        messages.error(request, f"“{shown.filename}” is being processed right now.")
    return back(request, "library")


@private
@require_POST
def delete_selection(request: HttpRequest) -> HttpResponse:
    """Ask whether it is meant, then delete the ticked documents."""
    form = SelectionForm(caller(request), request.POST)
    if not form.is_valid():
        return _nothing_ticked(request)
    documents = list(form.cleaned_data["documents"])
    if "confirmed" not in request.POST:
        return _panel(request, "documents/delete.html", {"documents": documents, "action": request.path})
    count = services.delete_documents(owner_id=caller(request).pk, documents=[row.id for row in documents])
    messages.success(request, f"{count} document{'s are' if count != 1 else ' is'} deleted.")
    return back(request, "library")


@private
@require_POST
@gone_is_not_found
def collect_selection(request: HttpRequest) -> HttpResponse:
    """Ask which collections, then put the ticked documents into them."""
    form = SelectionForm(caller(request), request.POST)
    if not form.is_valid():
        return _nothing_ticked(request)
    collections, documents = list(form.cleaned_data["collections"]), list(form.cleaned_data["documents"])
    if not collections:
        return _panel(request, "documents/collect.html", {"form": form, "documents": documents})
    services.add_to_collections(owner=caller(request), documents=[row.id for row in documents], collections=collections)
    messages.success(request, f"Added to {', '.join(collection.name for collection in collections)}.")
    return back(request, "library")


def _nothing_ticked(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Tick the documents first.")
    response = back(request, "library")
    if is_fragment(request):
        return HttpResponse(status=204, headers={"HX-Redirect": response["Location"]})
    return response


@private
@read_or_write
def edit_collection(request: HttpRequest, pk: UUID | None = None) -> HttpResponse:
    """Make or rename a collection."""
    collection = get_object_or_404(_own_collections(request), pk=pk) if pk else Collection(owner=caller(request))
    form = CollectionForm(request.POST or None, instance=collection)
    if form.is_valid():
        services.save_collection(collection=form.save(commit=False))
        messages.success(request, f"“{collection.name}” is saved.")
        return redirect(f"/library/?collection={collection.id}")
    return _panel(request, "documents/collection.html", {"form": form, "collection": collection if pk else None})


@private
@read_or_write
def delete_collection(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask whether it is meant, then delete the collection; its documents stay."""
    collection = get_object_or_404(_own_collections(request), pk=pk)
    if request.method != "POST":
        return _panel(request, "documents/delete_collection.html", {"collection": collection})
    services.delete_collection(collection=collection)
    messages.success(request, f"The collection “{collection.name}” is deleted; its documents are still here.")
    return redirect("library")


def _panel(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A form by itself for the dialog, or on a page where there is no JavaScript."""
    context["next"] = request.POST.get("next") or request.GET.get("next", "")
    if is_fragment(request):
        return render(request, template, context)
    return render(request, "panel.html", {**context, "panel": template})


def _own_documents(request: HttpRequest) -> Any:
    return Document.objects.for_user(caller(request))


def _own_collections(request: HttpRequest) -> QuerySet[Collection]:
    return Collection.objects.counted(caller(request)).order_by(Lower("name"), "id")
