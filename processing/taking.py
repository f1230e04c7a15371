"""Which documents this process takes: those of the queues that its worker was started for, else all."""

from documents.queue.kinds import next_due, queue_for
from documents.queue.waking import wake_worker
from ragsite.heartbeat import was_alive_lately
from ragsite.queues import served
from ragsite.routes import DOCUMENT_QUEUES, EMBED, INTERACTIVE


def queues_served() -> frozenset[str]:
    """The queues of documents that this process was started for; all outside of a worker, as in `manage.py ingest`."""
    return served() & frozenset(DOCUMENT_QUEUES)


def queues_taken() -> frozenset[str]:
    """The same, and what is to be embedded where nobody else does it: a document that was begun never waits for a
    worker that is not there."""
    own = queues_served()
    return own if own <= {INTERACTIVE} or EMBED in own or others_embed() else own | {EMBED}


def others_embed() -> bool:
    """Whether documents are to be given over when they are split: this worker does not embed, and another one does."""
    return EMBED not in queues_served() and was_alive_lately(EMBED)


def wake_own() -> None:
    """Wake a worker of this kind if there is a document that it may take."""
    document = next_due(queues_taken())
    if document is not None:
        queue, own = queue_for(document, DOCUMENT_QUEUES[1:]), queues_served()
        wake_worker(queue if queue in own or not own else min(own))
