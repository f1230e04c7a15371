"""The workers' sign of life: for each queue a key in the cache's server that expires when no worker of it renews it."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from celery import bootsteps
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ragsite.redis_servers import connect

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10
LASTS_SECONDS = 30
LOOK_SECONDS = 5.0


def alive_key(queue: str) -> str:
    """Such as ``ragsite:worker-alive:documents``, unless the cache has another prefix."""
    return f"{settings.CACHES['default']['KEY_PREFIX']}:worker-alive:{queue}"


def quick_redis() -> Redis:
    """A connection to the cache's server that never waits long and never tries again."""
    return connect(settings.CACHE_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), retries=0))


def worker_is_alive(*queues: str) -> bool:
    """Whether a worker of one of these queues was heard of lately; unknown counts as yes."""
    try:
        with quick_redis() as redis:
            return bool(redis.exists(*map(alive_key, queues)))
    except RedisError:
        return True


_looked: dict[str, tuple[float, bool]] = {}


def was_alive_lately(queue: str) -> bool:
    """The same, asked for at most every few seconds: what is done at each claim must not ask each time."""
    looked_at, alive = _looked.get(queue, (-LOOK_SECONDS, False))
    if time.monotonic() - looked_at >= LOOK_SECONDS:
        looked_at, alive = _looked[queue] = time.monotonic(), worker_is_alive(queue)
    return alive


class Heartbeat(bootsteps.StartStopStep):
    """Renews the keys from the worker's own event loop: a worker that hangs or has lost its broker falls silent."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self.timer_entry: Any = None

    def start(self, worker: Any) -> None:
        queues = tuple(worker.app.amqp.queues.consume_from)
        announce(queues)
        self.timer_entry = worker.timer.call_repeatedly(INTERVAL_SECONDS, announce, (queues,))

    def stop(self, worker: Any) -> None:
        if self.timer_entry is not None:
            self.timer_entry.cancel()


def announce(queues: Iterable[str]) -> None:
    """Say that a worker of these queues is alive. A cache that is down is no reason to stop working."""
    try:
        with quick_redis() as redis:
            for queue in queues:
                redis.set(alive_key(queue), "1", ex=LASTS_SECONDS)
    except RedisError as error:
        logger.warning("cannot announce this worker, the cache is down: %s", type(error).__name__)
