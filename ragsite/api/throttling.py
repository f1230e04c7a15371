"""How many requests a user may make: counted in Redis, allowed (and logged) when Redis is down."""

import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import cache
from django_redis import get_redis_connection
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    from rest_framework.views import APIView  # at run time a circle: DRF's views load this module

logger = logging.getLogger(__name__)

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local interval, burst, counted = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval
local wait = due - now - interval * burst
if wait > 0 then return math.ceil(wait) end
if not counted then return 0 end
redis.call('SET', KEYS[1], string.format('%.3f', due), 'PX', math.ceil(due - now) + 1000)
return 0
"""
"""GCRA (a leaky bucket kept as one timestamp): atomic, one key, one round trip, and it knows the exact wait.

DRF's own throttle reads a list of times and writes it back, so that requests at once are counted as one.
"""


class RateThrottle(BaseThrottle):
    """``rate`` requests at once, then as many spread over the period (``DEFAULT_THROTTLE_RATES`` by scope)."""

    scope = ""
    wait_seconds: float | None = None

    def identify(self, request: Request) -> str | None:
        """Whose requests are counted together; None is not counted."""
        return str(request.user.pk) if request.user.is_authenticated else None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        return self.ask(request, counted=True)

    def ask(self, request: Request, *, counted: bool) -> bool:
        """Whether the request is within the rate; unless ``counted``, one that is leaves no trace."""
        rate, ident = api_settings.DEFAULT_THROTTLE_RATES.get(self.scope), self.identify(request)
        if not settings.THROTTLE or rate is None or ident is None:
            return True
        waiting_ms = self._take(ident, *parse_rate(str(rate)), counted)
        self.wait_seconds = waiting_ms / 1000
        return waiting_ms == 0

    def wait(self) -> float | None:
        return self.wait_seconds

    def _take(self, ident: str, requests: int, seconds: int, counted: bool) -> int:
        """Milliseconds to wait until a request is allowed; 0 when this one is."""
        key = str(cache.make_key(f"throttle:{self.scope}:{ident}"))
        try:
            redis: Any = get_redis_connection("default")
            return int(redis.eval(TAKE, 1, key, seconds * 1000 / requests, requests, int(counted)))
        except RedisError as error:
            logger.warning("requests are not counted, the cache is down: %s", type(error).__name__)
            return 0


def parse_rate(rate: str) -> tuple[int, int]:
    """Requests and seconds of ``60/min``. Raises ValueError."""
    count, _, period = rate.partition("/")
    if period[:1] not in PERIODS or int(count) < 1:
        raise ValueError(f"a rate looks like 60/min, not {rate!r}")
    return int(count), PERIODS[period[0]]


class UserThrottle(RateThrottle):
    """All requests of one user, whichever token or session they come with."""

    scope = "user"


class AnonymousThrottle(RateThrottle):
    """All requests of one address without a user."""

    scope = "anonymous"

    def identify(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else self.get_ident(request)


class FailureThrottle(RateThrottle):
    """Wrong tokens of one address."""

    scope = "failures"

    def identify(self, request: Request) -> str | None:
        return self.get_ident(request)


class PostThrottle(RateThrottle):
    """Counts what makes work, not reads of the same endpoint."""

    def identify(self, request: Request) -> str | None:
        return super().identify(request) if request.method == "POST" else None


class MessageThrottle(PostThrottle):
    """Questions of one user."""

    scope = "messages"


class UploadThrottle(PostThrottle):
    """Uploads of one user."""

    scope = "uploads"
