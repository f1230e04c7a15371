"""Answers to reads, kept for the one who read them: as JSON of the API, and as pages.

Both are looked up after authentication, by the user. The API's carry an ETag that no other user's answer can have, and
say that a browser must ask before it shows one again; pages are not kept by browsers at all (``ragsite.pages``).
"""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.utils.cache import get_conditional_response, patch_vary_headers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from ragsite.accounts.callers import caller
from ragsite.caching.reading import get_or_compute
from ragsite.caching.registry import Keyspace
from ragsite.caching.release import release
from ragsite.pages import is_fragment

JSON_TYPE = "application/json"
TOKEN = re.compile(rb'(name="csrfmiddlewaretoken" value=")[A-Za-z0-9]{64}"')
NO_TOKEN = rb'\1"'
EMPTY_TOKEN = b'name="csrfmiddlewaretoken" value=""'

Handler = Callable[..., Any]
PageView = Callable[..., HttpResponse]


def cached_read(
    space: Keyspace[bytes], *, keep: Callable[[Any], bool] = lambda _data: True, **names: str
) -> Callable[[Handler], Handler]:
    """For a ``get`` of the API: its JSON from the cache, with an ETag, and 304 to who has it already.

    ``names`` says which argument of the view is which part of the key (``document="pk"``); ``keep`` is asked with the
    data whether it stays true until something is changed.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.accepted_media_type != JSON_TYPE:
                return handler(view, request, *args, **kwargs)
            kept = True

            def compute() -> bytes:
                nonlocal kept
                response = handler(view, request, *args, **kwargs)
                kept = keep(response.data)
                return bytes(JSONRenderer().render(response.data))

            owner = caller(request).pk
            key = {part: kwargs[argument] for part, argument in names.items()}
            url = f"{request.build_absolute_uri()} {release()}"
            body = get_or_compute(space, compute, keep=lambda _body: kept, owner=owner, url=url, **key)
            return _conditional(request, owner, body)

        return wrapper

    return decorate


def _conditional(request: Request, owner: int, body: bytes) -> HttpResponseBase:
    """The body, or 304. Vary and Cache-Control keep shared caches and the next user of a browser away from it."""
    etag = hashlib.sha256(b"%d " % owner + body).hexdigest()[:32]
    response = HttpResponse(body, content_type=JSON_TYPE, headers={"ETag": f'"{etag}"'})
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ("Authorization", "Cookie"))
    return get_conditional_response(request._request, etag=f'"{etag}"', response=response) or response


def leave_out(request: HttpRequest) -> None:
    """Say in a page's view that this page is not to be kept: it tells of what is going on."""
    request.not_to_be_kept = True  # type: ignore[attr-defined]


def cached_page(space: Keyspace[bytes], **names: str) -> Callable[[PageView], PageView]:
    """For a page's view that only reads: its HTML from the cache, with this request's own CSRF token in its forms."""

    def decorate(view: PageView) -> PageView:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method != "GET" or _is_personal(request):
                return view(request, *args, **kwargs)
            made: list[HttpResponse] = []

            def compute() -> bytes:
                made.append(view(request, *args, **kwargs))
                return TOKEN.sub(NO_TOKEN, made[0].content)

            def keep(_body: bytes) -> bool:
                return made[0].status_code == 200 and not made[0].cookies and not _is_left_out(request)

            user = caller(request)
            key = {part: kwargs[argument] for part, argument in names.items()}
            body = get_or_compute(space, compute, keep=keep, owner=user.pk, url=_looks(request), **key)
            return made[0] if made else HttpResponse(with_token(request, body))

        return wrapper

    return decorate


def _is_left_out(request: HttpRequest) -> bool:
    return getattr(request, "not_to_be_kept", False)


def _is_personal(request: HttpRequest) -> bool:
    """Whether the page will say something once."""
    return len(get_messages(request)) > 0 or "kept_question" in request.session


def _looks(request: HttpRequest) -> str:
    """All that a page shows of the request and its user."""
    user = caller(request)
    parts = (request.build_absolute_uri(), is_fragment(request), user.get_username(), user.email, user.is_staff)
    return repr((*parts, request.headers.get("HX-Target", ""), release()))


def with_token(request: HttpRequest, body: bytes) -> bytes:
    if EMPTY_TOKEN not in body:
        return body
    return body.replace(EMPTY_TOKEN, b'name="csrfmiddlewaretoken" value="%s"' % get_token(request).encode())


def at_rest(data: Any) -> bool:
    """Whether none of the API's documents is in work: what is changes by itself."""
    rows = data.get("results", [data])
    return all(row["status"] in {"processed", "failed"} for row in rows)
