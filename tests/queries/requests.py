"""A request for each route and method of the site, the variants that take another plan, and what runs by the clock."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.files.base import ContentFile

from tests.queries.plans import Limits

DEFAULT = Limits()
WORDS = Limits(rows=5000, sorted=500, buffers=2500, entries=False)
"""Lists by words: what at most 500 rows hold is put in order, what more hold is looked for in a stretch of the list."""
SEARCH = Limits(rows=300_000, sorted=10_000, buffers=32_000, scans=True)
"""The statement that ranks: documents/search/ says how it is bounded, docs/quality.md what it costs."""
COUNTS = Limits(rows=10_000, buffers=2500)
"""With how many documents each collection holds: counted in an index, hundreds to a page of 8 KB."""
QUEUE = Limits(rows=5000, buffers=5000)
"""How long a document takes: all that is open of the owner is counted, hundreds after a retry of all that failed."""
MANY = Limits(rows=20_000, sorted=101, buffers=50_000)
"""An action on all that failed: as much as it changes."""


@dataclass(frozen=True)
class Call:
    """``path`` and the strings in ``data`` are filled in with the world's names, as ``{document}``."""

    method: str
    path: str
    data: Callable[[dict[str, Any]], Any] | dict[str, Any] | None = None
    limits: Limits = DEFAULT
    expect: int = 200

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


def gets(*paths: str, limits: Limits = DEFAULT) -> list[Call]:
    return [Call("get", path, limits=limits) for path in paths]


def a_file(world: dict[str, Any]) -> dict[str, Any]:
    return {"file": ContentFile(f"A document about {random.random()}.".encode(), f"{world['unique']}.txt")}


A_QUESTION = [{"role": "user", "content": "Which turbine was replaced?"}]
API_READS = [
    *gets("/api/v1/me", "/api/v1/tokens", "/api/v1/tokens/{token}", "/api/v1/language-models", "/v1/models"),
    *gets("/v1/models/ragsite"),
    *gets("/api/v1/queue", limits=QUEUE),
    *gets("/api/v1/collections", "/api/v1/collections/{collection}", limits=COUNTS),
    *gets(
        "/api/v1/documents",
        "/api/v1/documents?page_size=100",
        "/api/v1/documents?cursor={deep_documents}",
        "/api/v1/documents?ordering=uploaded_at",
        "/api/v1/documents?ordering=filename",
        "/api/v1/documents?ordering=-filename",
        "/api/v1/documents?ordering=size",
        "/api/v1/documents?ordering=-size",
        "/api/v1/documents?status=processed",
        "/api/v1/documents?status=failed",
        "/api/v1/documents?content_type=text/plain",
        "/api/v1/documents?status=processed&ordering=filename",
        "/api/v1/documents?collection={collection}",
    ),
    *gets("/api/v1/documents?search=Turbine", "/api/v1/documents?search=turbine+oslo", limits=WORDS),
    *gets(
        "/api/v1/documents/{document}",
        "/api/v1/documents/{document}/why",
        "/api/v1/documents/{document}/text",
        "/api/v1/documents/{document}/chunks",
        "/api/v1/documents/{with_file}/file",
        "/api/v1/imports",
        "/api/v1/imports/{import}",
        "/api/v1/imports/{import}/items",
        "/api/v1/conversations",
        "/api/v1/conversations?page_size=100",
        "/api/v1/conversations?cursor={deep_conversations}",
        "/api/v1/conversations?archived=true",
        "/api/v1/conversations?pinned=true",
        "/api/v1/conversations?search=nobodysaidthis",
        "/api/v1/documents?search=nobodysaidthis",
        "/api/v1/conversations/{conversation}",
        "/api/v1/conversations/{conversation}/messages",
        "/api/v1/messages/{answer}",
    ),
    *gets(
        *(f"/api/v1/conversations?search={words}" for words in ("turbine", "turbine+oslo", "t", "the+turbine+of+oslo")),
        *(f"/api/v1/documents?search={words}" for words in ("t", "oslo&ordering=filename", "pdf&status=failed")),
        limits=WORDS,
    ),
    Call("get", "/api/v1/documents/{with_file}/replace"),
    Call("get", "/api/v1/documents/{document}/pages/1", expect=404),
    Call("get", "/api/v1/documents/{document}/pages/1/boxes?start=0&end=9", expect=404),
    Call("get", "/api/v1/messages/{answer}/events"),
]
API_WRITES = [
    Call("post", "/api/v1/tokens", {"name": "another", "scopes": ["read"]}, expect=403),
    Call("delete", "/api/v1/tokens/{other_token}", expect=204),
    Call("post", "/api/v1/collections", {"name": "New {unique}"}, expect=201),
    Call("patch", "/api/v1/collections/{collection}", {"name": "Renamed {unique}"}, COUNTS),
    Call("put", "/api/v1/collections/{collection}", expect=405),
    Call("post", "/api/v1/documents", a_file, expect=201),
    Call("patch", "/api/v1/documents/{document}", {"filename": "renamed.pdf"}),
    Call("post", "/api/v1/documents/{failed[0]}/retry", None, QUEUE, 202),
    Call("post", "/api/v1/documents/{victims[0]}/reprocess", None, QUEUE, 202),
    Call("post", "/api/v1/documents/{victims[1]}/replace", {"replaces": "{victims[2]}"}),
    Call("delete", "/api/v1/documents/{victims[1]}", expect=204),
    Call("post", "/api/v1/documents/import", {"url": "https://example.org/a.txt"}, expect=202),
    Call("delete", "/api/v1/imports/{other_import}", expect=204),
    Call("post", "/api/v1/search", {"query": "a turbine in Oslo and the battery"}, SEARCH),
    Call("post", "/api/v1/search", {"query": "the turbine", "documents": ["{document}"]}, SEARCH),
    Call("post", "/api/v1/search", {"query": "the turbine", "collections": ["{collection}"]}, SEARCH),
    Call("post", "/api/v1/conversations", {"title": "New"}, expect=201),
    Call("patch", "/api/v1/conversations/{conversation}", {"pinned": True}),
    Call("post", "/api/v1/conversations/{conversation}/messages", {"content": "Which turbine?"}, SEARCH, 201),
    Call("post", "/api/v1/messages/{answer}/stop", expect=202),
    Call("delete", "/api/v1/conversations/{old_talks[0]}", expect=204),
    Call(
        "post", "/v1/chat/completions", {"model": "ragsite", "messages": [{"role": "user", "content": "Why?"}]}, SEARCH
    ),
    Call("post", "/api/v1/documents/retry", {}, MANY, 202),
    Call("delete", "/api/v1/collections/{other_collection}", limits=MANY, expect=204),
]
PAGES = [
    *gets(
        "/library/",
        "/library/?ordering=filename",
        "/library/?cursor={deep_documents}",
        "/library/?status=failed",
        "/library/?collection={collection}",
        "/library/{document}/",
        "/library/collections/{collection}/edit/",
        "/library/collections/{collection}/delete/",
        limits=COUNTS,
    ),
    *gets(
        "/settings/tokens/",
        "/library/{document}/chunks/",
        "/library/{document}/edit/",
        "/library/{document}/delete/",
        "/library/{document}/why/",
        "/library/imports/",
        "/library/collections/new/",
        "/",
        "/?archived",
        "/chat/{conversation}/",
        "/chat/scope/",
        "/chat/{conversation}/scope/",
        "/chat/{conversation}/rename/",
        "/chat/{conversation}/delete/",
    ),
    *gets("/library/?search=turbine", "/?search=turbine", "/chat/scope/?find=turbine", limits=WORDS),
    *[
        Call("htmx", path)
        for path in ("/chat/list/", "/chat/messages/{answer}/", "/library/{document}/passage/?chunk=0")
    ],
    *gets("/library/{with_file}/replace/"),
    *gets("/library/progress/?id={document}&id={victims[3]}", limits=QUEUE),
    Call("post", "/library/selection/collect/", {"documents": "{document}", "collections": "{collection}"}, expect=302),
    Call("post", "/library/selection/delete/", {"documents": "{victims[4]}", "confirmed": "1"}, expect=302),
    Call("post", "/library/collections/{collection}/edit/", {"name": "By a page {unique}"}, COUNTS, 302),
    Call("post", "/library/collections/new/", {"name": "Page {unique}"}, expect=302),
    Call("post", "/library/upload/", a_file, expect=302),
    Call("post", "/library/{document}/edit/", {"filename": "page.pdf"}, expect=302),
    Call("post", "/library/{victims[5]}/delete/", expect=302),
    Call("post", "/library/{failed[1]}/retry/", expect=302),
    Call("post", "/library/{victims[6]}/reprocess/", expect=302),
    Call("post", "/library/retry/", {}, MANY, 302),
    Call("post", "/library/imports/", {"url": "https://example.org/b.txt"}, expect=302),
    Call("post", "/library/imports/{import}/drop/", expect=302),
    Call("post", "/chat/{old_talks[1]}/ask/", {"content": "And the turbine?"}, SEARCH, 302),
    Call("post", "/chat/ask/", {"content": "What about the turbine?"}, SEARCH, 302),
    Call("post", "/chat/{old_talks[2]}/scope/", {"documents": "{document}"}, expect=302),
    Call("post", "/chat/{old_talks[2]}/rename/", {"title": "Renamed"}, expect=302),
    Call("post", "/chat/{old_talks[2]}/pin/", expect=302),
    Call("post", "/chat/{old_talks[2]}/archive/", expect=302),
    Call("post", "/chat/{old_talks[3]}/delete/", expect=302),
    Call("post", "/chat/messages/{answer}/stop/", expect=302),
    Call("post", "/chat/messages/{last_answer}/again/", {}, SEARCH, 302),
    Call("post", "/library/collections/{third_collection}/delete/", limits=MANY, expect=302),
    Call("post", "/settings/tokens/{third_token}/revoke/", expect=302),
    Call("post", "/settings/tokens/", {"name": "page", "scopes": "read", "days": "30"}),
]
EVERY = [*API_READS, *API_WRITES, *PAGES]
TASKS = (
    "processing.tasks.wake_workers", "processing.tasks.renew_vectors", "processing.leases.claim_next",
    "chat.tasks.sweep_interrupted", "documents.tasks.run_imports",
)  # fmt: skip
"""What the clock starts every few seconds."""
NOT_HERE = {
    "favicon.ico": "no statement",
    "chat/": "a redirect",
    "api/schema/": "no statement",
    "api/docs/": "no statement",
    "api/v1/uploads": "resumable uploads lie in files; at their end they are the upload above",
    "api/v1/uploads/<uuid:pk>": "the same",
}
"""Routes without a request, and why."""
