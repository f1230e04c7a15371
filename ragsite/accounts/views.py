"""The settings page of API tokens, and the way to a new password."""

import uuid

from allauth.account.views import password_reset as allauth_password_reset
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from ragsite.accounts.callers import caller
from ragsite.accounts.forms import NewTokenForm
from ragsite.accounts.models import ApiToken
from ragsite.api.keyset import InvalidCursor, keyset_page

PAGE_SIZE = 50


def password_reset(request: HttpRequest) -> HttpResponseBase:
    """allauth's page where mail is sent; elsewhere words on whom to ask."""
    if not settings.SENDS_MAIL:
        return render(request, "account/password_reset_off.html")
    return allauth_password_reset(request)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List and make tokens. A new secret is in the answer to the POST itself: kept nowhere, so never shown again."""
    form = NewTokenForm(request.POST or None)
    context: dict[str, object] = {"form": form}
    if request.method == "POST" and form.is_valid():
        context["token"], context["secret"] = ApiToken.issue(
            owner=caller(request),
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires_at=form.expires_at(),
        )
        context["form"] = NewTokenForm()
    mine = ApiToken.objects.for_user(caller(request)).not_revoked()
    try:
        context["page"] = keyset_page(mine, ("-id",), request.GET.get("cursor"), PAGE_SIZE)
    except InvalidCursor:
        return redirect("tokens")
    return render(request, "account/tokens.html", context)


@login_required
@require_POST
def revoke_token(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    token = get_object_or_404(ApiToken.objects.for_user(caller(request)), pk=pk)
    token.revoke()
    messages.success(request, f"“{token.name}” no longer works.")
    return redirect("tokens")
