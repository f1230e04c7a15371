"""The page of imports: from a web address or an archive, with or without JavaScript."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Prefetch
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from documents.importing.models import Import, ImportItem
from documents.importing.services import drop_import, import_address
from documents.models import Collection
from documents.services import UploadRefused
from ragsite.accounts.callers import caller
from ragsite.accounts.models import User
from ragsite.pages import is_fragment, private

SHOWN, SHOWN_REFUSALS = 30, 20


class AddressForm(forms.Form):
    """A web address, and the collection that its document goes into."""

    url = forms.CharField(label="Web address", max_length=2000, widget=forms.URLInput(attrs={"autocomplete": "off"}))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mine = Collection.objects.for_user(user).order_by(Lower("name"), "id")
        self.fields["collection"] = forms.ModelChoiceField(mine, required=False, empty_label="No collection")


@private
@require_http_methods(["GET", "HEAD", "POST"])
def imports(request: HttpRequest) -> HttpResponse:
    """One's imports, newest first, and a way to begin one."""
    form = AddressForm(caller(request), request.POST or None, initial={"collection": request.GET.get("collection")})
    if form.is_valid() and _begin(request, form):
        return redirect("library-imports")
    jobs = _newest(request)
    context = {"form": form, "jobs": jobs, "in_work": any(job.status in Import.IN_WORK for job in jobs)}
    template = "documents/import_list.html" if is_fragment(request) else "documents/imports.html"
    return render(request, template, context, status=400 if form.errors else 200)


def _begin(request: HttpRequest, form: AddressForm) -> bool:
    chosen = form.cleaned_data["collection"]
    try:
        import_address(owner=caller(request), address=form.cleaned_data["url"], collections=[chosen] if chosen else [])
    except UploadRefused as refusal:
        form.add_error("url", refusal.detail)
        return False
    return True


def _newest(request: HttpRequest) -> list[Any]:
    """The newest imports, each with how many files came to what and the first of those refused."""
    refused = ImportItem.objects.filter(outcome=ImportItem.Outcome.REFUSED).order_by("position")[:SHOWN_REFUSALS]
    newest = Import.objects.for_user(caller(request)).counted().order_by("-created_at", "-id")[:SHOWN]
    return list(newest.prefetch_related(Prefetch("items", refused, to_attr="refusals")))


@private
@require_POST
def drop(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop an import, or take a finished one off the list."""
    drop_import(get_object_or_404(Import.objects.for_user(caller(request)), pk=pk))
    messages.success(request, "The import is off the list. The documents that it has made stay.")
    return redirect("library-imports")
