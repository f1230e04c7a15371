"""Signs of life of processes, for those on other machines.

Whether a process of this machine is gone is known at once (``ragsite.lifeline``); of another machine's it is known when
it has been silent for longer than it ever is. Each process that claims something renews a key that expires.
"""

import os
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ragsite import lifeline
from ragsite.redis_servers import connect

INTERVAL_SECONDS = 5.0
LASTS_SECONDS = 15
YOUNG = timedelta(seconds=LASTS_SECONDS + 5)
"""What was claimed this lately may be of a process that has not given its first sign yet."""

SECOND_LOOK_SECONDS = INTERVAL_SECONDS + 1
"""After which every process that lives has given a sign, also to a server that has lost them."""
LOOKS_COUNT_SECONDS = 60.0

_giving: set[int] = set()
_missed: dict[str, float] = {}
"""When this process first missed the signs of another one."""
_lock = threading.Lock()


def give() -> None:
    """Have this process give signs for as long as it lives. A fork begins anew."""
    with _lock:
        if os.getpid() in _giving or not lifeline.mine():
            return
        _giving.add(os.getpid())
    threading.Thread(target=_give_for_ever, name="signs", daemon=True).start()


def has_fallen_silent(mark: str, since: datetime) -> bool:
    """Whether the process that claimed something then gives no sign any more; when that cannot be known, it lives.

    Not so either while the server with the signs has just begun: it may have lost them. One that was frozen, or a
    replica that became primary, may miss them all for a moment: silence is believed at a second look.
    """
    if not mark or since > timezone.now() - YOUNG:
        return False
    try:
        with _redis() as redis:
            missing = not redis.exists(_key(mark)) and redis.info("server")["uptime_in_seconds"] > LASTS_SECONDS
    except RedisError:
        missing = False
    return _missed_for_long(mark, missing)


def _missed_for_long(mark: str, missing: bool) -> bool:
    """Whether an earlier look, neither just now nor long ago, has missed it too."""
    now = time.monotonic()
    with _lock:
        for old in [one for one, first in _missed.items() if now - first > LOOKS_COUNT_SECONDS]:
            del _missed[old]
        if not missing:
            _missed.pop(mark, None)
            return False
        return now - _missed.setdefault(mark, now) >= SECOND_LOOK_SECONDS


def _give_for_ever() -> None:
    while True:
        with suppress(RedisError), _redis() as redis:  # who needs that server for more tells that it is away
            redis.set(_key(lifeline.mine()), b"1", ex=LASTS_SECONDS)
        time.sleep(INTERVAL_SECONDS)


def _key(mark: str) -> str:
    return f"{settings.CACHES['default']['KEY_PREFIX']}:process:{mark}"


def _redis() -> Redis:
    """Where running answers are. Signs expire as streams do: a full server with ``volatile-lru`` may evict both."""
    return connect(
        settings.STREAMS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), retries=0)
    )
