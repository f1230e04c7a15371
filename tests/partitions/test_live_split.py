"""A live site is repartitioned, killed half-way, gone on with, while accounts upload, search, replace and delete."""

import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragsite.layout import PROJECT_DIR
from tests.instance import until
from tests.torture.run import Torture

pytestmark = pytest.mark.slow
SECONDS = 45


class Splitter:
    """In the killer's place: it kills only its own command, and runs it again."""

    def __init__(self, torture: Torture) -> None:
        self.site, self.people = torture.site, torture.people
        self.thread = threading.Thread(target=self._split)
        self.wrong: list[str] = []
        self.killed: Counter[str] = Counter()
        self.recovered: dict[str, list[float]] = {}
        self.output = ""

    def _split(self) -> None:
        until(lambda: sum(len(person.ledger.documents) for person in self.people) > 9)
        for lines in (3, 20, None):  # killed when so many lines are out, at last not at all
            self._run_until(lines)
        if self.site.manage("partitions", "--repartition", "64").stdout.strip().count("\n"):
            self.wrong.append("a finished split was not finished")

    def _run_until(self, lines: int | None) -> None:
        command = [sys.executable, "manage.py", "partitions", "--repartition", "64", "--batch", "20", "--pause", "0.05"]
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            env=self.site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        for number, line in enumerate(process.stdout, 1):
            self.output += line
            if number == lines:
                process.kill()
                self.killed["partitions"] += 1
        if process.wait() and lines is None:
            self.wrong.append(f"the split failed: {self.output[-2000:]}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, for the sockets of the site: pytest's own are long when its tests run side by side."""
    with tempfile.TemporaryDirectory(prefix="split-") as made:
        yield Path(made)


@pytest.mark.timeout(1200)
def test_a_live_site_gets_64_partitions_and_nothing_is_lost_or_double(folder: Path):
    torture = Torture(folder, seed=13, people=3, pause=(1, 1))
    torture.killer = splitter = Splitter(torture)  # type: ignore[assignment]
    try:
        torture.run(SECONDS)
        told = torture.site.manage("partitions").stdout
    finally:
        torture.end(None)
    seconds = [float(found) for found in re.findall(r"tries, ([\d.]+) s\)", splitter.output)]
    print(torture.report(), f"exchanged {len(seconds)} times, at most {max(seconds):.2f} s each", sep="\n")
    assert torture.wrong == []
    assert splitter.killed.total() == 2
    for table in ("documents_chunk", "documents_embedding"):
        assert f"{table}: 64 partitions" in told
