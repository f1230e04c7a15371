"""A whole, short run of the harness: it ends by itself, leaves a report, and nothing that it has started."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ragsite.layout import PROJECT_DIR
from tests.instance import command_line, descendants, until

SMALL = ("--owners=5", "--documents=20", "--chunks=60", "--conversations=20", "--messages=40", "--accounts=5")
COMMAND = (sys.executable, "-m", "tests.load.harness", "--profile=mixed", "--users=6", "--seconds=12", *SMALL)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_ends_by_itself_with_a_report(tmp_path: Path) -> None:
    command = [
        *COMMAND,
        "--without-probes",
        "--first=50",
        "--delay=5",
        f"--data={tmp_path / 'data'}",
        f"--report={tmp_path}",
    ]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    folder = next(tmp_path.glob("*-mixed-6"), None)  # a fault ends it with 1 too, as a target that was missed does
    assert done.returncode in (0, 1), done.stderr
    assert folder, done.stderr
    report = json.loads((folder / "report.json").read_text())
    (step,) = report["steps"]
    assert step["errors"] == {}, (folder / "report.txt").read_text()
    assert sum(operation["count"] for operation in step["operations"].values()) > 0
    assert {verdict["what"] for verdict in report["verdicts"]} >= {"errors", "chat answers, p95"}
    assert list(folder.glob("*.svg"))
    assert list(folder.glob("*.png"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    command = [*COMMAND, "--without-probes", f"--data={tmp_path / 'data'}", f"--report={tmp_path}"]
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert until(lambda: any("locust" in command_line(pid) for pid in descendants(process.pid)), seconds=900)
        started = descendants(process.pid)
        process.send_signal(number)
    deadline = time.monotonic() + 300
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < deadline, [command_line(pid) for pid in started]
        time.sleep(0.2)
