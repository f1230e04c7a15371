"""The cache when its server is down: empty, and no obstacle."""

import logging
import sys
from typing import Any

from django_redis.cache import RedisCache

logger = logging.getLogger(__name__)


class ForgivingRedisCache(RedisCache):
    """While the server is down this behaves as Django's DummyCache and says so in one line, not a traceback each time.

    django-redis then answers ``add`` with None, as if someone else held the key: allauth takes that for a lock it did
    not get, and nobody could sign in.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._log_ignored_exceptions = True
        self.logger = OneLine()

    def add(self, *args: Any, **kwargs: Any) -> bool:
        added = super().add(*args, **kwargs)
        return True if added is None else bool(added)


class OneLine:
    """Stands in for the logger of django-redis."""

    def exception(self, message: str) -> None:
        error = sys.exc_info()[1]
        cause = getattr(error, "__cause__", None) or error
        logger.warning("the cache is down: %s", type(cause).__name__)
