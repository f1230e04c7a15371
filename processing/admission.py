"""What this process may begin: a small document never waits for a large one, and a suspect is worked on alone.

Reading a file is not cut into slices, and some take minutes. So large documents may have half of the process's places,
and the others are for small ones. Documents are worked on in threads of one process; one that has killed it before
could take innocent ones along until they count as crashed themselves, so it is tried when nothing else is.
"""

import threading
from collections.abc import Collection
from uuid import UUID

from django.db.models.functions import Now

from documents.models import Document
from processing.leases import claim_next
from processing.places import places
from processing.taking import queues_taken

MOST_LARGE = 3
"""At once in one process: the sandbox reads four files at once."""
SUSPECT_CRASHES = 2


class Admission:
    """The documents that this process has in work; safe to share between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._in_work: dict[UUID | None, Document] = {}
        self._threads: dict[UUID | None, int] = {}
        self._closed = False
        self.was_asked = False
        """Whether documents are worked on in this process: in a worker of processes they are in its children."""

    def claim(self) -> Document | None:
        """The next due document that may be begun here; :meth:`leave` when the attempt is over."""
        self.was_asked = True
        with self._changed:
            if self._closed or len(self._in_work) >= places.number or any(map(_is_suspect, self._in_work.values())):
                return None
            document = claim_next(small_only=not self._has_place_for_large(), queues=queues_taken())
            if document is not None:
                self._in_work[document.attempt] = document
                self._threads[document.attempt] = threading.get_ident()
            return document

    def leave(self, attempt: UUID | None) -> None:
        with self._changed:
            self._in_work.pop(attempt, None)
            self._threads.pop(attempt, None)
            self._changed.notify_all()

    def wait_until_alone(self, document: Document) -> None:
        """Only for a suspect; nothing is begun beside it meanwhile."""
        if _is_suspect(document):
            with self._changed:
                self._changed.wait_for(lambda: not self._in_work.keys() - {document.attempt})

    def close(self, hanging: Collection[int] = ()) -> None:
        """Give everything back at once, to be gone on with by others: this process is told to stop.

        Not what threads work on that hang: their leases run out, which counts as a crash.
        """
        with self._changed:
            self._closed = True
            attempts = [attempt for attempt in self._in_work if self._threads.get(attempt) not in hanging]
            documents = [self._in_work[attempt].id for attempt in attempts]
            owners = {self._in_work[attempt].owner_id for attempt in attempts}
        rows = Document.objects.filter(owner__in=owners, id__in=documents, attempt__in=attempts)
        rows.update(attempt=None, lease_expires_at=None, due_at=Now(), updated_at=Now())

    def _has_place_for_large(self) -> bool:
        larges = sum(document.is_large for document in self._in_work.values())
        return larges < min(MOST_LARGE, max(1, places.number // 2))


def _is_suspect(document: Document) -> bool:
    return document.crashes >= SUSPECT_CRASHES


admission = Admission()
