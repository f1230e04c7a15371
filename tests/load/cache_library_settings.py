"""The site's settings with a library of ORM caches in it, for tests/load/cache_libraries.py."""

import os

from ragsite.settings import *  # noqa: F403
from ragsite.settings import CACHE_URL, CACHES, DATABASES, INSTALLED_APPS

SECONDS = 3600
match os.environ.get("BENCH_LIBRARY"):
    case "cacheops":
        INSTALLED_APPS = [*INSTALLED_APPS, "cacheops"]
        CACHEOPS_REDIS = CACHE_URL
        CACHEOPS = {
            name: {"ops": "all", "timeout": SECONDS}
            for name in ("chat.*", "documents.document", "documents.collection", "documents.membership")
        }
    case "cachalot":
        INSTALLED_APPS = [*INSTALLED_APPS, "cachalot"]
        # The site's own cache takes JSON alone; the library needs one that pickles.
        CACHES = {**CACHES, "rows": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": CACHE_URL}}
        CACHALOT_CACHE = "rows"
        CACHALOT_DATABASES = set(DATABASES)
        CACHALOT_TIMEOUT = SECONDS
