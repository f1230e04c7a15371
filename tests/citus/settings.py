"""The tests' settings on a distributed database, which tests/citus/__main__.py has made, migrated and sharded."""

import os

_URL = os.environ["CITUS_TEST_URL"]

from ragsite.databases import database_from_url  # noqa: E402
from tests.settings import *  # noqa: E402, F403
from tests.settings import DATABASES  # noqa: E402

DATABASES["default"] = {**DATABASES["default"], **database_from_url(_URL, 0)}
DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
