"""The site's settings for the tests: no `.env`, no service of the developer's own, a data folder that goes away.

pytest-django loads this before any conftest.py. The processes of pytest-xdist inherit the folder from the first one and
each have a database and a Valkey number of their own.
"""

import os
import tempfile

_OTHERS = (
    "DATABASE_URL",
    "DATABASE_REPLICA_URLS",
    "DATABASE_DIRECT_URL",
    "REDIS_URL",
    "BROKER_URL",
    "CACHE_URL",
    "STREAMS_URL",
)
_PREFIXES = ("RAGSITE_", "EMBEDDING_", "LLM_", "RERANK_")
_MINE = "RAGSITE_TEST_DATA_DIR"

if _MINE not in os.environ:
    for name in [*_OTHERS, *(name for name in os.environ if name.startswith(_PREFIXES))]:
        os.environ.pop(name, None)
    os.environ[_MINE] = tempfile.mkdtemp(prefix="ragsite-")
    os.environ["RAGSITE_DATA_DIR"] = os.environ[_MINE]
    os.environ["RAGSITE_DOTENV"] = os.devnull

from ragsite.settings import *  # noqa: E402, F403
from ragsite.settings import CELERY_BROKER_URL, LAYOUT  # noqa: E402

_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
REDIS_URL = LAYOUT.redis_url.replace("?db=0", f"?db={_NUMBER}")
CACHE_URL = STREAMS_URL = REDIS_URL
CACHES["default"]["LOCATION"] = CACHE_URL  # noqa: F405
CELERY_BROKER_URL = CELERY_BROKER_URL.replace("?virtual_host=0", f"?virtual_host={_NUMBER}")
STATIC_ROOT.mkdir(exist_ok=True)  # noqa: F405  (whitenoise warns in every test otherwise)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
