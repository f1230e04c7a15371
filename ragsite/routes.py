"""The queues, and of each task its queue and how long it may take: the one table of it (docs/queues.md).

Knows nothing of Django or Celery: the settings and the supervisor read it.
"""

from dataclasses import dataclass

INTERACTIVE = "interactive"
INGEST_SMALL = "ingest-small"
INGEST_BULK = "ingest-bulk"
EMBED = "embed"
MAINTENANCE = "maintenance"

DOCUMENT_QUEUES = (INTERACTIVE, INGEST_SMALL, INGEST_BULK, EMBED)
QUEUES = (*DOCUMENT_QUEUES, MAINTENANCE)


@dataclass(frozen=True)
class Route:
    """``soft`` and ``hard`` are seconds: after the first a task is to give up by itself, after the second its worker
    ends (``ragsite.limits``)."""

    queue: str
    soft: int
    hard: int

    @property
    def limits(self) -> dict[str, int]:
        """As Celery names them."""
        return {"soft_time_limit": self.soft, "time_limit": self.hard}


PROCESS_NEXT = "processing.tasks.process_next"
ROUTES = {
    # Sent to the queue of the document that waits; this one is only where it goes when none is named.
    PROCESS_NEXT: Route(INGEST_SMALL, soft=1700, hard=1800),
    "processing.tasks.wake_workers": Route(MAINTENANCE, soft=20, hard=60),
    "processing.tasks.renew_vectors": Route(MAINTENANCE, soft=60, hard=120),
    "chat.tasks.sweep_interrupted": Route(MAINTENANCE, soft=50, hard=60),
    "documents.tasks.run_imports": Route(MAINTENANCE, soft=20, hard=60),
    "documents.tasks.sweep_files": Route(MAINTENANCE, soft=1200, hard=1500),
    "ragsite.service_level.tasks.thin_measurements": Route(MAINTENANCE, soft=240, hard=300),
    "ragsite.tasks.keep_partitions": Route(MAINTENANCE, soft=540, hard=600),
    "ragsite.tasks.remove_expired": Route(MAINTENANCE, soft=540, hard=600),
}

VISIBILITY_SECONDS = 3600
"""After so long the broker gives a message that nobody has acknowledged to another worker: longer than any task."""


def serving(queue: str) -> tuple[str, ...]:
    """The queues whose workers take this queue's documents: what is interactive is small too, and what is to be
    embedded is taken by those who read documents while no worker of its own is there."""
    return {
        INTERACTIVE: (INTERACTIVE, INGEST_SMALL),
        EMBED: (EMBED, INGEST_SMALL, INGEST_BULK),
    }.get(queue, (queue,))


def named(queues: str) -> tuple[str, ...]:
    """``ingest-small,embed`` → these queues of documents, all where none is named. Raises ValueError for another."""
    names = tuple(name.strip() for name in queues.split(",") if name.strip()) or DOCUMENT_QUEUES
    if unknown := sorted(set(names) - set(DOCUMENT_QUEUES)):
        raise ValueError(f"{unknown[0]} is no queue of documents; there are {', '.join(DOCUMENT_QUEUES)}.")
    return names
