"""Many writers and readers in several processes: no value is older than the last commit before it was read."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from documents.models import Collection
from ragsite.accounts.models import ApiToken
from tests.load.site import database_url

ROWS = 5
WRITERS, READERS = 2, 2
SMALL, FULL = 1_000, 100_000
PATIENCE = 1800
"""Seconds: the same work takes twenty times as long where twenty others are at it."""
pytestmark = pytest.mark.django_db(transaction=True)


def hammer(folder: Path, owner: Any, reads: int, fault: str = "", **plan: Any) -> dict[str, int]:
    """Run the processes until all is read; what the readers have found, added up."""
    rows = [Collection.objects.create(owner=owner, name=str(number), instructions="1") for number in range(ROWS)]
    _, token = ApiToken.issue(owner=owner, name="hammer")
    defaults = {"owner": owner.pk, "rows": [str(row.id) for row in rows], "token": token, "api_every": 7}
    timing = {"pause": 0.01, "slow": 0.01, "gap": 0.01, "writers": WRITERS, "patience": PATIENCE / 3}
    whole = defaults | timing | {"weights": [8, 4, 2, 1, 1], "fault": fault, "reads": reads // READERS + 1} | plan
    (folder / "plan.json").write_text(json.dumps(whole))
    writers = [start("write", number, folder) for number in range(WRITERS)]
    readers = [start("read", number, folder) for number in range(READERS)]
    try:
        assert [process.wait(PATIENCE) for process in readers] == [0] * READERS
        (folder / "done").touch()
        assert [process.wait(PATIENCE) for process in writers] == [0] * WRITERS
    finally:
        for process in [*readers, *writers]:
            process.kill()  # they would go on in the next test's tables
            process.wait()
    found = [json.loads((folder / f"read-{number}.json").read_text()) for number in range(READERS)]
    sums = {name: sum(entry[name] for entry in found) for name in ("reads", "violations", "hits")}
    return sums | {"first": [entry["first"] for entry in found]}


def start(role: str, number: int, folder: Path) -> "subprocess.Popen[bytes]":
    environment = {
        "DJANGO_SETTINGS_MODULE": "ragsite.settings",
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "RAGSITE_THROTTLE": "off",
    }
    command = [sys.executable, "-m", "tests.caching.hammer", role, str(number), str(folder)]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env={**os.environ, **environment})


@pytest.mark.timeout(600)
def test_no_read_is_older_than_the_last_commit_before_it(owner, tmp_path):
    found = hammer(tmp_path, owner, SMALL)
    assert found["reads"] >= SMALL
    assert found["violations"] == 0, found["first"]
    assert found["hits"] > 0


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
def test_nor_is_one_of_a_hundred_thousand(owner, tmp_path):
    started = time.monotonic()
    found = hammer(tmp_path, owner, FULL)
    print(f"{found} in {time.monotonic() - started:.0f} s")
    assert found["reads"] >= FULL
    assert found["violations"] == 0, found["first"]
    assert found["hits"] > FULL / 10


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize(
    "fault", ["no bar", "told after the commit is forgotten", "fills are not refused", "bars are shared"]
)
def test_without_a_part_of_the_protocol_some_are(owner, tmp_path, fault):
    assert hammer(tmp_path, owner, 0, fault)["violations"] > 0
