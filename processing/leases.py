"""Which document a worker works on next, and the proof that it still may.

The rows are the queue: a claim takes the next due document of the owner who has the fewest in work, with a lease that a
thread renews. An owner's claims take in turn what waits longest and what came last: a file that is put in behind a
thousand others is read soon, and the thousand go on. Every write names the attempt's token, so that a worker whose
lease was lost changes nothing any more.
"""

import logging
import random
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Least, Now

from documents.caching import library_changed
from documents.models import Document
from documents.queue.kinds import FREE, OWNERS_WITH_WORK, condition
from documents.queue.shards import candidates
from ragsite.routes import DOCUMENT_QUEUES
from ragsite.sharding.state import is_sharded

if TYPE_CHECKING:
    from documents.querysets import DocumentQuerySet

logger = logging.getLogger(__name__)

MOST_COUNTED = 1000
"""Attempts and crashes are not counted further: an encoder may be away for weeks."""
# Of each owner with work its next due rows, by document_claim_idx those
# that wait longest, by document_status_idx those that came last and were never begun. First the owner with the fewest
# leases, of those the one who was served longest ago: a newcomer does not wait behind the queues of others.
CANDIDATES = f"""
{OWNERS_WITH_WORK}, busy AS (
  SELECT owner_id, count(*) AS leases FROM documents_document
  WHERE lease_expires_at > statement_timestamp() GROUP BY owner_id
)
SELECT next.id FROM owners
LEFT JOIN busy USING (owner_id)
LEFT JOIN processing_turn turn USING (owner_id)
CROSS JOIN LATERAL (
  (SELECT d.id, d.due_at, turn.newest_next IS TRUE AS later, 0 AS newness
   FROM documents_document d WHERE d.owner_id = owners.owner_id AND {FREE} AND {{kinds}} AND d.size < %(size)s
   ORDER BY d.due_at, d.id LIMIT 8)
  UNION ALL
  (SELECT d.id, d.due_at, false, row_number() OVER (ORDER BY d.uploaded_at DESC, d.id DESC)
   FROM documents_document d
   WHERE turn.newest_next AND d.owner_id = owners.owner_id AND d.status = 'uploaded' AND {FREE} AND {{kinds}}
   AND d.size < %(size)s
   ORDER BY d.uploaded_at DESC, d.id DESC LIMIT 8)
) next
ORDER BY coalesce(busy.leases, 0), turn.claimed_at NULLS FIRST, next.later, next.newness, next.due_at LIMIT 32
"""  # noqa: S608  (constants of this module)

LOCKED = f"""
SELECT owner_id, id FROM documents_document WHERE {{whose}}id = ANY (%s::uuid[]) AND {FREE}
ORDER BY array_position(%s::uuid[], id) LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608

TAKE_TURN = """
INSERT INTO processing_turn AS turn (owner_id, claimed_at, newest_next) VALUES (%s, statement_timestamp(), true)
ON CONFLICT (owner_id) DO UPDATE SET claimed_at = EXCLUDED.claimed_at, newest_next = NOT turn.newest_next
"""
ANY_SIZE = (1 << 63) - 1


UNSEEN = frozenset(
    {"stage_progress", "stage_started_at", "stage_seconds", "attempt", "attempts", "crashes", "due_at"}
    | {"lease_expires_at", "waiting_for"}
)
"""Columns that nothing cached shows: documents in work are not kept."""


class LeaseLost(Exception):
    """The document was deleted, restarted or taken over: this attempt must stop, and has nothing to clean up."""


def claim_next(*, small_only: bool = False, queues: Collection[str] = DOCUMENT_QUEUES) -> Document | None:
    """Claim the next due document of these queues with a fresh attempt token; None when nothing is due."""
    if is_sharded():
        offers = candidates(queues, small_only)
        return next((document for owner_id, ids in offers if (document := _claim(ids, owner_id))), None)
    statement = CANDIDATES.format(kinds=condition(queues, "d"))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"size": Document.LARGE_BYTES if small_only else ANY_SIZE})
        return _claim([row[0] for row in cursor.fetchall()])


def _claim(candidates: list[uuid.UUID], owner_id: int | None = None) -> Document | None:
    """The first of them that nobody else is claiming; with the owner, where rows are found by him."""
    whose = "" if owner_id is None else f"owner_id = {owner_id:d} AND "
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCKED.format(whose=whose), [candidates, candidates])
        row = cursor.fetchone()
        if row is None:
            return None
        document = _take(*row)
        cursor.execute(TAKE_TURN, [document.owner_id])
        return document


def _take(owner_id: int, document_id: uuid.UUID) -> Document:
    rows = Document.objects.filter(owner=owner_id, id=document_id)
    rows.update(
        # A lease that was not given back is one of a worker that died.
        crashes=Least(
            F("crashes") + Case(When(lease_expires_at__isnull=False, then=1), default=0), Value(MOST_COUNTED)
        ),
        attempts=Least(F("attempts") + 1, Value(MOST_COUNTED)),
        attempt=uuid.uuid4(),
        lease_expires_at=_expiry(),
        updated_at=Now(),
    )
    return rows.get()


def _expiry() -> CombinedExpression:
    """By the database's clock, as everything about leases: those of the workers may differ."""
    return Now() + timedelta(seconds=settings.PROCESSING_LEASE_SECONDS)


class Lease:
    """The right to work on a claimed document, renewed by a thread until the block ends."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.token = document.attempt
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _row(self) -> "DocumentQuerySet":
        """The document's, as long as the attempt is ours."""
        return Document.objects.filter(owner=self.document.owner_id, id=self.document.id, attempt=self.token)

    def check(self) -> None:
        """Raises LeaseLost as soon as it is known."""
        if self._lost.is_set():
            raise LeaseLost

    def update(self, **values: Any) -> None:
        """Write to the document's row, if the attempt is still ours. Raises LeaseLost."""
        with nullcontext() if values.keys() <= UNSEEN else transaction.atomic():
            self._write(values)
        self._remember(values)

    @contextmanager
    def writing(self, **values: Any) -> Iterator[None]:
        """A transaction that begins by writing these: the document's row is locked, and the attempt is ours.

        Raises LeaseLost.
        """
        with transaction.atomic():
            self._write(values)
            yield
        self._remember(values)

    def _write(self, values: dict[str, Any]) -> None:
        self.check()
        if not self._row().update(**values, updated_at=Now()):
            self._lost.set()
            raise LeaseLost
        if not values.keys() <= UNSEEN:
            library_changed(self.document.owner_id, [self.document.id])

    def _remember(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self.document, name, value)

    def release(self, *, wait: float, reason: str) -> None:
        """Give the document back, to be tried again in ``wait`` seconds, give or take a third."""
        pause = wait * random.uniform(2 / 3, 4 / 3)  # noqa: S311  (jitter, not a secret)
        due = Now() + timedelta(seconds=pause)
        self.update(attempt=None, lease_expires_at=None, due_at=due, waiting_for=reason)

    def _renew(self) -> None:
        try:
            while not self._ended.wait(settings.PROCESSING_LEASE_SECONDS / 3):
                self._renew_once()
                if self._lost.is_set():
                    return
        finally:
            connection.close()

    def _renew_once(self) -> None:
        try:
            if not self._row().update(lease_expires_at=_expiry()):
                self._lost.set()
        except DatabaseProblem as error:
            logger.warning("The lease of document %s could not be renewed: %s", self.document.id, error)
            connection.close()
