"""Errors as RFC 9457 problem details (``application/problem+json``), whatever raised them.

``{"type", "title", "status", "detail", "code"}`` always; ``errors`` (field → messages) when input was invalid.
"""

import errno
import logging
import math
import sys
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.template.loader import render_to_string
from django.views import defaults
from django.views.csrf import csrf_failure as django_csrf_failure
from psycopg2.errors import DiskFull
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from ragsite.backends.away import PoolTimeout
from ragsite.files import StorageUnavailable
from ragsite.sharding.state import is_shard_away

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
SHARD_AWAY = (
    "The part of the database that holds your documents and conversations cannot be reached at the moment. Nothing of "
    "them is lost. Try again in a minute; if it lasts, tell an administrator."
)
API_PREFIXES = ("/api/", "/v1/")
"""Below these paths an error is answered as a problem, elsewhere as a page."""


class Problem(exceptions.APIException):
    """An error with a code that programs can rely on: ``raise Problem(409, "answer_in_progress", "…")``."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.code = code
        self.errors = errors or {}
        self.headers = headers or {}


class UploadTooLarge(RequestDataTooBig):
    """The files of a request have more bytes than the site takes; the text says how many it takes."""

    def __init__(self) -> None:
        super().__init__(f"The files are larger than {settings.RAGSITE_MAX_UPLOAD_MB} MB.")


def problem_body(status: int, code: str, detail: str, errors: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    """The JSON object of a problem. The type is ``about:blank``: the meaning is in ``code``."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body |= {"detail": detail, "code": code}
    if errors:
        body["errors"] = dict(errors)
    return body


def problem_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None for what nobody expected: Django then logs it and calls ``server_error``."""
    problem = as_problem(exc)
    if problem is None:
        return None
    body = problem_body(problem.status_code, problem.code, str(problem.detail), problem.errors)
    return Response(body, status=problem.status_code, headers=problem.headers, content_type=CONTENT_TYPE)


def as_problem(exc: BaseException) -> Problem | None:
    """The problem that tells of this exception; None when it is a fault of the site."""
    match exc:
        case Problem():
            return exc
        case Http404():
            return Problem(404, "not_found", "There is nothing here, or it is not yours.")
        case PermissionDenied():
            return Problem(403, "permission_denied", str(exc) or "You may not do this.")
        case UploadTooLarge():
            return Problem(413, "too_large", str(exc), {"file": [str(exc)]})
        case RequestDataTooBig():
            return Problem(413, "body_too_large", "The request's body is too large.")
        case DjangoValidationError():
            return _validation_problem(exceptions.ValidationError(_django_errors(exc)))
        case MultiPartParserError() | SuspiciousOperation() | UnreadablePostError():
            return Problem(400, "parse_error", "The request could not be read.")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT) | OperationalError(__cause__=DiskFull()):
            return Problem(
                507, "disk_full", "The disk is full, nothing was stored. Tell an administrator; try again later."
            )
        case OperationalError() | InterfaceError() | PoolTimeout() | StorageUnavailable():
            return _away(exc)
        case exceptions.ValidationError():
            return _validation_problem(exc)
        case exceptions.APIException():
            return _api_problem(exc)
    return None


def _away(exc: BaseException) -> Problem:
    if isinstance(exc, StorageUnavailable):
        detail = "The file storage cannot be reached at the moment. Try again in a few seconds."
        return Problem(503, "storage_unavailable", detail, headers={"Retry-After": "5"})
    if is_shard_away(exc):
        return Problem(503, "shard_unavailable", SHARD_AWAY, headers={"Retry-After": "15"})
    detail = "The database is restarting or overloaded. Try again in a few seconds."
    return Problem(503, "database_unavailable", detail, headers={"Retry-After": "3"})


def _api_problem(exc: exceptions.APIException) -> Problem:
    headers: dict[str, str] = {}
    if auth_header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    codes = exc.get_codes()
    code = codes if isinstance(codes, str) else exc.default_code
    detail = str(exc.detail) if isinstance(exc.detail, str) else exc.default_detail
    return Problem(exc.status_code, code, str(detail), headers=headers)


def _validation_problem(exc: exceptions.ValidationError) -> Problem:
    errors = field_errors(exc.detail)
    general = errors.get(api_settings.NON_FIELD_ERRORS_KEY)
    detail = general[0] if general else "Some of the values are not valid."
    return Problem(exc.status_code, "invalid", detail, errors)


def _django_errors(exc: DjangoValidationError) -> dict[str, list[str]]:
    if hasattr(exc, "error_dict"):
        return exc.message_dict
    return {api_settings.NON_FIELD_ERRORS_KEY: exc.messages}


def field_errors(detail: Any) -> dict[str, list[str]]:
    """A serializer's nested errors as one flat map: ``{"items.0.name": ["…"]}``."""
    flat: dict[str, list[str]] = {}
    for path, message in _messages(detail, ()):
        flat.setdefault(".".join(path) or api_settings.NON_FIELD_ERRORS_KEY, []).append(message)
    return flat


def _messages(detail: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _messages(inner, (*path, str(name)))
    elif isinstance(detail, list | tuple):
        for position, inner in enumerate(detail):
            place = (str(position),) if isinstance(inner, Mapping | list | tuple) else ()
            yield from _messages(inner, (*path, *place))
    else:
        yield path, str(detail)


def problem_response(problem: Problem) -> JsonResponse:
    """The problem as a plain Django response, where no DRF view is in charge."""
    body = problem_body(problem.status_code, problem.code, str(problem.detail), problem.errors)
    return JsonResponse(body, status=problem.status_code, headers=problem.headers, content_type=CONTENT_TYPE)


def speaks_json(request: HttpRequest) -> bool:
    """Whether errors at this address are problems, not pages."""
    return request.path_info.startswith(API_PREFIXES)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    problem = as_problem(exception) or Problem(400, "bad_request", "The request could not be read.")
    if speaks_json(request):
        return problem_response(problem)
    if problem.status_code == 413:
        return HttpResponse(render_to_string("413.html", {"detail": problem.detail}), status=413)
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if not speaks_json(request):
        return defaults.permission_denied(request, exception)
    return problem_response(Problem(403, "permission_denied", str(exception) or "You may not do this."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: also for paths of the API that match no endpoint."""
    if not speaks_json(request):
        return defaults.page_not_found(request, exception)
    return problem_response(Problem(404, "not_found", "There is nothing here, or it is not yours."))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: says nothing of the cause but the id under which it is logged.

    What passes by itself (the database restarts, the disk is full) is told even where no view could: in middleware.
    """
    passing = as_problem(sys.exc_info()[1] or Exception())
    if passing is not None and passing.status_code > 500:
        return problem_response(passing) if speaks_json(request) else _passing_page(request, passing)
    if not speaks_json(request):
        return defaults.server_error(request)
    fault = uuid.uuid4()
    logger.error("fault %s in %s %s", fault, request.method, request.path)
    body = problem_body(500, "server_error", "Something went wrong here. It was logged under the id in `instance`.")
    return JsonResponse({**body, "instance": f"urn:uuid:{fault}"}, status=500, content_type=CONTENT_TYPE)


def _passing_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    page = render_to_string("503.html", {"detail": problem.detail})
    return HttpResponse(page, status=problem.status_code, headers=problem.headers)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    if not speaks_json(request):
        return django_csrf_failure(request, reason)
    return problem_response(Problem(403, "csrf_failed", "The CSRF token is missing or wrong."))
