"""What of libraries is cached, and which changes of them are told."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ragsite.caching import FLOATS, JSON, PAGE, Dependency, Keyspace, changed
from ragsite.replicas.position import written

LIBRARY = Dependency(
    "library",
    ("owner",),
    "Everything about the owner's documents that a list shows, but for progress within a stage.",
)
DOCUMENT = Dependency("document", ("owner", "document"), "Its row, its text and passages, the collections it is in.")
DOCUMENTS = Dependency("documents", ("owner",), "Many at once: failed ones tried again, a collection deleted.")
NAMES = Dependency(
    "names", ("owner",), "Which documents and collections there are, and what they are called; collections' members."
)
CORPUS = Dependency(
    "corpus",
    ("owner",),
    "What a search finds: passages or vectors written, a document replaced, renamed, deleted or put into a collection.",
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Each change of a document, a collection, a text or a passage tells LIBRARY, or CORPUS where searches alone see it.
LIBRARY_WRITTEN = written("library-written", "the owner's documents and collections", LIBRARY)
CORPUS_WRITTEN = written("corpus-written", "the owner's passages and vectors", CORPUS)

DOCUMENT_LIST: Keyspace[bytes] = Keyspace(
    "document-list",
    {"owner": int, "url": str},
    "`GET /api/v1/documents`, while nothing that is listed is in work.",
    HOUR,
    (LIBRARY, NAMES),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
DOCUMENT_DETAIL: Keyspace[bytes] = Keyspace(
    "document-detail",
    {"owner": int, "document": UUID, "url": str},
    "`GET /api/v1/documents/{id}`, once it is not in work.",
    HOUR,
    (DOCUMENT, DOCUMENTS),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
DOCUMENT_TEXT: Keyspace[bytes] = Keyspace(
    "document-text",
    {"owner": int, "document": UUID, "url": str},
    "`GET /api/v1/documents/{id}/text` and `…/chunks`.",
    HOUR,
    (DOCUMENT, DOCUMENTS),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
COLLECTIONS: Keyspace[bytes] = Keyspace(
    "collection-list",
    {"owner": int, "url": str},
    "`GET /api/v1/collections`, with the number of documents in each.",
    HOUR,
    (NAMES,),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
LIBRARY_PAGE: Keyspace[bytes] = Keyspace(
    "library-page",
    {"owner": int, "url": str},
    "The library as a page, while nothing is in work. It says how long ago things were, so it is kept for a minute.",
    timedelta(minutes=1),
    (LIBRARY, NAMES),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
DOCUMENT_PAGE: Keyspace[bytes] = Keyspace(
    "document-page",
    {"owner": int, "document": UUID, "url": str},
    "A document as a page, opened at a passage or not, once it is not in work; the pane beside a chat.",
    HOUR,
    (DOCUMENT, DOCUMENTS, NAMES),
    PAGE,
    from_replica=LIBRARY_WRITTEN,
)
QUERY_VECTORS: Keyspace[NDArray[np.float32]] = Keyspace(
    "query-vectors",
    {"owner": int, "model": str, "text": str},
    "The vector of a question. Nothing changes it: its key names the model and the text.",
    DAY,
    (),
    FLOATS,
)
RETRIEVAL: Keyspace[Any] = Keyspace(
    "retrieval",
    {"owner": int, "asked": str},
    "The passages that a search has found, by scope, query, mode, model and the release of the site.",
    HOUR,
    (CORPUS,),
    JSON,
    from_replica=CORPUS_WRITTEN,
)


def library_changed(owner_id: int, documents: Iterable[UUID] = ()) -> None:
    """In the transaction: rows of these documents, as lists and pages show them. None named: of many."""
    named = list(documents)
    rows = [DOCUMENT(owner=owner_id, document=document) for document in named] or [DOCUMENTS(owner=owner_id)]
    changed(LIBRARY(owner=owner_id), *rows)


def corpus_changed(owner_id: int, documents: Iterable[UUID] = ()) -> None:
    """In the transaction: the same, and what a search finds."""
    library_changed(owner_id, documents)
    changed(CORPUS(owner=owner_id))


def names_changed(owner_id: int, documents: Iterable[UUID] = ()) -> None:
    """In the transaction: the same, and which documents or collections there are, their names or who is in them."""
    corpus_changed(owner_id, documents)
    changed(NAMES(owner=owner_id))
