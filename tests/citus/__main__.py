"""The site's tests on a real Citus: ``make test-citus CITUS_URL=postgresql://…``.

Makes a database on every node of the cluster, migrates and distributes it, runs the tests of models, search, chat and
pipeline in it, and then those of this folder. Without a URL it says that it runs nothing.
"""

import os
import subprocess
import sys
import tempfile

from tests.citus import databases
from tests.citus.selection import DESELECTED, TESTS

NAME = "ragsite_test"


def main() -> int:
    """The command."""
    url = os.environ.get("CITUS_URL", "")
    if not url:
        print(
            "SKIPPED: the tests on Citus need a cluster; name its coordinator: make test-citus CITUS_URL=postgresql://…"
        )
        return 0
    made = databases.create(url, NAME)
    try:
        _distribute(made)
        return _run(made, ["-m", "not slow", *_chosen()]) or _run(made, ["-m", "slow", "tests/citus"])
    finally:
        databases.drop(url, NAME)


def _distribute(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DATABASE_URL": url, "RAGSITE_DATA_DIR": folder, "RAGSITE_DOTENV": os.devnull}
        for command in (["migrate", "--verbosity=0"], ["shard"]):
            subprocess.run(
                [sys.executable, "manage.py", *command], env=environment, check=True, stdout=subprocess.DEVNULL
            )


def _chosen() -> list[str]:
    for name, reason in DESELECTED.items():
        print(f"not run on Citus: {name}: {reason}")
    return [*(f"--deselect={name}" for name in DESELECTED), *(sys.argv[1:] or TESTS)]


def _run(url: str, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "--ds=tests.citus.settings", "--reuse-db", "-n", "0", *arguments]
    return subprocess.run(command, env={**os.environ, "CITUS_TEST_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
