"""The queue in figures: one owner's, and for staff the whole site's."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from documents.models import Document
from documents.queue.outlook import Outlook, OwnersLine, site_outlook
from documents.queue.why import remaining_words

if TYPE_CHECKING:
    from documents.querysets import DocumentQuerySet
    from ragsite.accounts.models import User


MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Queue:
    """``remaining_seconds`` is None when too little was measured, or when no worker is there.

    ``failed`` is not counted beyond MOST_COUNTED.
    """

    waiting: int
    in_work: int
    failed: int
    oldest_seconds: float | None
    remaining_seconds: float | None
    worker_alive: bool

    @property
    def open(self) -> int:
        return self.waiting + self.in_work

    @property
    def measuring(self) -> bool:
        return self.remaining_seconds is None and self.worker_alive

    @property
    def ready_at(self) -> datetime | None:
        if self.remaining_seconds is None:
            return None
        return timezone.now() + timedelta(seconds=self.remaining_seconds)

    @property
    def words(self) -> str:
        """``12 documents in work, about 3 min left``; empty when nothing is."""
        if not self.open:
            return ""
        told = remaining_words(self.remaining_seconds) if self.worker_alive else "but no worker is running"
        return f"{self.open} document{'' if self.open == 1 else 's'} in work, {told}"


def queue_of(owner: "User", outlook: Outlook | None = None) -> Queue:
    """The documents of one owner."""
    outlook = outlook or site_outlook()
    failed = _counted(Document.objects.for_user(owner).failed())
    return _queue(outlook, [outlook.of(owner.pk)], outlook.remaining_of(owner.pk), failed)


def queue_of_site() -> Queue:
    """Everybody's documents."""
    outlook = site_outlook()
    return _queue(outlook, outlook.lines.values(), outlook.remaining(), _counted(Document.objects.failed()))


def _counted(documents: "DocumentQuerySet") -> int:
    return documents.values("id")[:MOST_COUNTED].count()


def _queue(outlook: Outlook, lines: Iterable[OwnersLine], remaining: float | None, failed: int) -> Queue:
    shown = list(lines)
    oldest = min((line.oldest for line in shown if line.oldest), default=None)
    return Queue(
        waiting=sum(line.waiting.count for line in shown),
        in_work=sum(line.in_work.count for line in shown),
        failed=failed,
        oldest_seconds=max(0.0, time.time() - oldest) if oldest else None,
        remaining_seconds=remaining,
        worker_alive=not outlook.stalled,
    )
