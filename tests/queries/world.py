"""The account that has most, what of it the requests name, and the clients that ask for it."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from django.core.files.base import ContentFile
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from rest_framework.test import APIClient

from chat.answers.board import board
from chat.models import Conversation, Message
from documents.filters import ORDERINGS
from documents.importing.models import Import, ImportItem
from documents.models import Collection, Document
from documents.services import upload_document
from ragsite.accounts.models import ApiToken, User
from ragsite.api.keyset import Position, _resolved, write_cursor
from tests.queries.requests import Call

ANSWER_SECONDS = 20
HAND_MADE = ("admin/", "silk/", "accounts/")
"""Frameworks' own pages: the admin has tests of its own, sign-in is allauth's."""


def world_of(owner: User) -> dict[str, Any]:
    documents = Document.objects.for_user(owner).order_by("uploaded_at")
    processed = documents.filter(status="processed")
    middle = processed[processed.count() // 2 :].values_list("id", flat=True)
    talks = Conversation.objects.for_user(owner).order_by("updated_at")
    talk = talks[talks.count() // 2]
    collections = list(Collection.objects.for_user(owner).order_by("id").values_list("id", flat=True))
    answers = Message.objects.filter(owner=owner, role="assistant")
    tokens = [ApiToken.issue(owner=owner, name="queries")[0].id for _ in range(3)]
    imports = [_imported(owner) for _ in range(2)]
    failed = list(processed.values_list("id", flat=True)[:5])
    Document.objects.filter(id__in=failed).update(status="failed", error_code="encrypted")
    new = upload_document(
        owner=owner, file=ContentFile(uuid.uuid4().bytes.hex().encode(), "real.txt"), filename="real.txt"
    ).document
    return {
        "unique": uuid.uuid4().hex[:8],
        "document": middle[0],
        "victims": list(middle[1:10]),
        "failed": failed,
        "with_file": new.id,
        "collection": collections[0],
        "other_collection": collections[1],
        "third_collection": collections[2],
        "conversation": talk.id,
        "old_talks": list(talks.values_list("id", flat=True)[:5]),
        "answer": answers.filter(conversation=talk).values_list("id", flat=True)[0],
        "last_answer": answers.filter(conversation=talks[5]).order_by("-created_at").values_list("id", flat=True)[0],
        "token": tokens[0],
        "other_token": tokens[1],
        "third_token": tokens[2],
        "import": imports[0].id,
        "other_import": imports[1].id,
        "deep_documents": _cursor(documents, ORDERINGS["-uploaded_at"]),
        "deep_conversations": _cursor(talks, ("-updated_at", "-id")),
    }


def _imported(owner: User) -> Import:
    job = Import.objects.create(owner=owner, kind="address", source="https://example.org/", status="done", total=1)
    ImportItem.objects.create(job=job, position=0, name="a.txt", outcome="refused", code="empty")
    return job


def _cursor(rows: models.QuerySet[Any], ordering: Any) -> str:
    """Of a page in the middle."""
    row = rows[rows.count() // 2]
    _, keys = _resolved(rows, ordering)
    return write_cursor(Position([getattr(row, key.name) for key in keys]), keys)


class Caller:
    """Sends the requests as their owner: the API with a token, pages with a session."""

    def __init__(self, owner: User) -> None:
        self.names = world_of(owner)
        self.api, self.pages = APIClient(), Client()
        secret = ApiToken.issue(owner=owner, name="caller")[1]
        self.api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        self.pages.force_login(owner, "django.contrib.auth.backends.ModelBackend")

    def send(self, call: Call) -> Any:
        """The response, once the answer that it asks for is written."""
        response = self._sent(call)
        deadline = time.monotonic() + ANSWER_SECONDS
        while len(board()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return response

    def _sent(self, call: Call) -> Any:
        path = call.path.format(**self.names)
        data = call.data(self.names) if callable(call.data) else self._filled(call.data)
        if call.method == "htmx":
            return self.pages.get(path, headers={"HX-Request": "true"})
        if not path.startswith(("/api/", "/v1/")):
            return getattr(self.pages, call.method)(path, data)
        kind = "multipart" if callable(call.data) else "json"
        arguments = {} if call.method == "get" else {"format": kind}
        response = getattr(self.api, call.method)(path, data, **arguments)
        if response.streaming:
            b"".join(response.streaming_content)
        return response

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [self._filled(entry) for entry in value]
        return value.format(**self.names) if isinstance(value, str) else value


def routes() -> Iterator[tuple[str, str]]:
    """Every route of the site with each method that its view answers; ``any`` for a plain function."""
    for route, callback in _patterns(get_resolver()):
        if route.startswith(HAND_MADE):
            continue
        view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
        methods = ("get", "post", "put", "patch", "delete")
        for method in [name for name in methods if hasattr(view, name)] if view else ["any"]:
            yield route, method


def _patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern, before + _text(pattern))
        else:
            yield before + _text(pattern), pattern.callback


def _text(pattern: URLPattern | URLResolver) -> str:
    return pattern.pattern._route if isinstance(pattern.pattern, RoutePattern) else str(pattern.pattern)
