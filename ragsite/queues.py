"""What waits in the broker."""

from celery import current_app


def messages_in(queue: str) -> int:
    """How many messages wait in a queue. Raises what the broker's driver raises when it cannot be reached.

    On a connection of its own, because one of the pool may be unusable after a failure. Not asked passively: kombu 5.7
    looks for the queue under a name without our prefix then, and finds none.
    """
    with current_app.connection_for_write() as connection, connection.channel() as channel:
        return channel.queue_declare(queue).message_count


def served() -> frozenset[str]:
    """The queues that this process takes messages from if it is a worker; all of them if it is none."""
    return frozenset(current_app.amqp.queues.consume_from)
