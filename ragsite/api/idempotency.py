"""``Idempotency-Key``: a POST that is sent again gives the first result again.

Claimed before the work begins, by a row that is unique for owner and key. Results of 2xx are kept; after anything else
the claim is given back, so that what failed (invalid input, a conflict, a fault) can be tried again with the same key.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.db.models import QuerySet
from django.http import HttpResponseBase, QueryDict
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ragsite import lifeline, signs
from ragsite.accounts.callers import caller
from ragsite.accounts.models import IdempotencyKey
from ragsite.api.problems import Problem
from ragsite.backends.away import PoolTimeout

HEADER = "Idempotency-Key"
PARAMETER = OpenApiParameter(
    HEADER, str, OpenApiParameter.HEADER, description="Sent again with the same body, it gives the first result again."
)
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
RELEASE_PAUSES = (0.5, 1, 2, 4, 8, 16, 32)
"""Seconds before each try to give a claim back when the database is away."""
logger = logging.getLogger(__name__)
Handler = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Claim:
    """This request's hold on its key; views find it in ``request.idempotency`` (None when no key was sent)."""

    row: IdempotencyKey

    def finish(self, status: int, body: Any) -> None:
        """Keep the result. Inside the transaction that does the work, both happen or neither does.

        Raises Problem 409 where another process has taken this one for dead, and the claim over.
        """
        if not self._held().update(status=status, body=as_json(body)):
            raise _in_progress()
        self.row.status = status

    def release(self) -> bool:
        """Let the same key be used again, unless a result was kept already; whether there was a claim."""
        return self._held().delete()[0] > 0

    def _held(self) -> QuerySet[IdempotencyKey]:
        return IdempotencyKey.objects.filter(pk=self.row.pk, status=None, claimed_at=self.row.claimed_at)


def idempotent(handler: Handler) -> Handler:
    """For the ``post`` or ``create`` of an API view.

    A view whose result is not its response's JSON (a stream) calls ``request.idempotency.finish(201, {...})`` in its
    transaction, and has ``replay(request, row, *args, **kwargs)`` to answer from what it kept; None says that the
    result was deleted since, and the request runs anew.
    """

    @extend_schema(parameters=[PARAMETER])
    @wraps(handler)
    def wrapper(view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.idempotency = None  # type: ignore[attr-defined]
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        row, claimed = claim(request, key)
        if not claimed:
            replay = getattr(view, "replay", _replay)
            response: HttpResponseBase | None = replay(request, row, *args, **kwargs)
            if response is not None:
                response["Idempotency-Replayed"] = "true"
                return response
            _claim_again(row)
        return _run(Claim(row), handler, view, request, *args, **kwargs)

    return wrapper


def _run(held: Claim, handler: Handler, view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
    request.idempotency = held  # type: ignore[attr-defined]
    try:
        response = handler(view, request, *args, **kwargs)
    except BaseException:
        _give_back(held)
        raise
    if isinstance(response, Response) and 200 <= response.status_code < 300 and not held.row.finished:
        held.finish(response.status_code, response.data)
    elif not held.row.finished:
        _give_back(held)
    return response


def _give_back(held: Claim) -> None:
    """Release the claim, later where the database is away: else a repetition would be told that the first one runs."""
    try:
        held.release()
    except DATABASE_AWAY:
        _release_later(held)


def _release_later(held: Claim, *, confirmed: bool = True) -> None:
    """In the background. A claim that was never ``confirmed`` may turn up only after some tries, or not at all."""
    threading.Thread(target=_try_to_release, args=[held, confirmed], name="idempotency", daemon=True).start()


def _try_to_release(held: Claim, confirmed: bool) -> None:
    for pause in RELEASE_PAUSES:
        time.sleep(pause)
        try:
            if held.release() or confirmed:
                return
        except DATABASE_AWAY as error:
            logger.warning("an idempotency key is still claimed: %s", error)
        finally:
            connection.close()


def _replay(request: Request, row: IdempotencyKey, *args: Any, **kwargs: Any) -> Response:
    return Response(row.body, status=row.status)


def claim(request: Request, key: str) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether this request is the one to do the work. Raises Problem 400, 409 or 422."""
    if not 0 < len(key) <= 255 or not key.isprintable():
        raise Problem(400, "invalid_idempotency_key", f"{HEADER} must have 1 to 255 printable characters.")
    signs.give()
    mine = {"request_line": f"{request.method} {request.path}"[:500], "body_digest": body_digest(request.data)}
    wanted = IdempotencyKey(owner=caller(request), key=key, claimed_by=lifeline.mine(), **mine)
    defaults = mine | {"id": wanted.id, "claimed_by": wanted.claimed_by, "claimed_at": wanted.claimed_at}
    try:
        row, created = IdempotencyKey.objects.get_or_create(owner=wanted.owner, key=key, defaults=defaults)
    except IntegrityError as error:  # the other one gave its claim back at this moment
        raise _in_progress() from error
    except DATABASE_AWAY:  # it may have died after the commit: nobody would ever finish that claim
        _release_later(Claim(wanted), confirmed=False)
        raise
    if created:
        return row, True
    if row.request_line != mine["request_line"] or bytes(row.body_digest) != mine["body_digest"]:
        raise Problem(422, "idempotency_key_reused", f"This {HEADER} was used for another request.")
    if not row.finished and not _take_over(row):
        raise _in_progress()
    return row, not row.finished


def _take_over(row: IdempotencyKey) -> bool:
    """Claim what a process left behind that died; False while it may be alive or when another one was first."""
    if not (row.abandoned or lifeline.has_ended(row.claimed_by) or _is_silent(row)):
        return False
    before, row.claimed_at = row.claimed_at, timezone.now()
    seen = IdempotencyKey.objects.filter(pk=row.pk, status=None, claimed_at=before)
    return seen.update(claimed_at=row.claimed_at, claimed_by=lifeline.mine()) == 1


def _is_silent(row: IdempotencyKey) -> bool:
    """Whether it was claimed on another machine, by a process that gives no sign of life any more."""
    return not lifeline.is_of_here(row.claimed_by) and signs.has_fallen_silent(row.claimed_by, row.claimed_at)


def _claim_again(row: IdempotencyKey) -> None:
    """Take a finished row for another run. Raises Problem 409 when another request was first."""
    seen = IdempotencyKey.objects.filter(pk=row.pk, claimed_at=row.claimed_at).exclude(status=None)
    row.status, row.claimed_at = None, timezone.now()
    if not seen.update(status=None, body=None, claimed_at=row.claimed_at, claimed_by=lifeline.mine()):
        raise _in_progress()


def _in_progress() -> Problem:
    detail = f"The first request with this {HEADER} is still running."
    return Problem(409, "idempotency_in_progress", detail, headers={"Retry-After": "1"})


def as_json(data: Any) -> Any:
    """The data as JSON would carry it: UUIDs and times as strings."""
    return json.loads(JSONRenderer().render(data) or b"null")


def body_digest(data: Any) -> bytes:
    """SHA-256 of a parsed body: independent of a multipart boundary and of the order of JSON's members."""
    digest = hashlib.sha256()
    parts = _form_parts(data) if isinstance(data, QueryDict) else [_canonical(data)]
    for part in parts:
        digest.update(part)
    return digest.digest()


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True).encode()


def _form_parts(data: QueryDict) -> Iterator[bytes]:
    """Names and values in turn; a file as its name, size and content, read in pieces."""
    for name, values in sorted(data.lists()):
        yield _canonical([name, len(values)])
        for value in values:
            if isinstance(value, UploadedFile):
                yield _canonical([value.name, value.size])
                yield from value.chunks()
                value.seek(0)
            else:
                yield _canonical(value)
