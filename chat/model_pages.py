"""The administration's page of language models: which there are, and what is wrong with one."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from chat.engines.diagnosis import Wrong, diagnosed, offered_names
from ragsite.language_models import configured_models


@require_http_methods(["GET", "HEAD", "POST"])
def language_models(request: HttpRequest) -> HttpResponse:
    """A POST tries one out. For superusers: a test sends requests from this machine, and addresses are shown."""
    if not request.user.is_superuser:
        raise PermissionDenied
    models = configured_models()
    tested = next((model for model in models if model.name == request.POST.get("name")), None)
    findings, names = [], []
    if tested:
        findings = list(diagnosed(tested, fill_context="context" in request.POST))
        try:
            names = offered_names(tested)
        except Wrong:
            names = []
    context = {"title": "Language models", "models": models, "tested": tested, "findings": findings, "names": names}
    return render(request, "admin/chat/language_models.html", {**admin.site.each_context(request), **context})
