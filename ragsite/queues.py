"""What waits in the broker."""

import os
import threading
from typing import Any

from celery import current_app

PATIENCE_SECONDS = 0.5
"""How long others wait while one asks: a broker that hangs must not line up all uploads of a process."""
_asking = threading.Lock()
_channels: dict[int, Any] = {}
"""Kept for the next question, by process: a connection for each cost an upload a millisecond."""


def messages_in(queue: str) -> int:
    """How many messages wait in a queue. Raises what the broker's driver raises when it cannot be reached.

    On a channel of its own, because one of the pool may be unusable after a failure; after one of this channel a new
    one is tried. Not asked passively: kombu 5.7 looks for the queue under a name without our prefix then, and finds
    none.
    """
    if not _asking.acquire(timeout=PATIENCE_SECONDS):
        raise TimeoutError("it does not answer another question")
    try:
        return _messages_in(queue)
    finally:
        _asking.release()


def _messages_in(queue: str) -> int:
    process = os.getpid()
    if process in _channels:
        try:
            return _count(_channels[process], queue)
        except Exception:  # whatever the driver raises of a connection that was closed meanwhile
            _channels.pop(process)
    channel = current_app.connection_for_write().channel()
    count = _count(channel, queue)
    _channels[process] = channel
    return count


def _count(channel: Any, queue: str) -> int:
    found: int = channel.queue_declare(queue).message_count
    return found


def served() -> frozenset[str]:
    """The queues that this process takes messages from if it is a worker; all of them if it is none."""
    return frozenset(current_app.amqp.queues.consume_from)
