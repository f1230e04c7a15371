"""Restarts all nodes in turn while Locust's visitors of `make load` use the site: no request may fail."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragsite.layout import PROJECT_DIR
from tests.instance import until
from tests.load.harness.files import make_files
from tests.load.harness.plan import Plan
from tests.load.harness.profiles import PROFILES, SMALL_TEXTS
from tests.load.harness.questions import common_questions
from tests.load.harness.running import generating
from tests.load.harness.samples import Sample, read_samples
from tests.scale.nodes import Node
from tests.scale.rig import MODEL, Rig

PROFILE = PROFILES["mixed"]
SEED = {"owners": 12, "documents": 120, "chunks": 1200, "conversations": 120, "messages": 600}
ACCOUNTS, FILES = 12, 150
RAMP_SECONDS, THINK = 5.0, (0.5, 2.5)
BETWEEN_SECONDS = 5.0
"""With all nodes up, before the next one is restarted."""
LONGEST_SECONDS = 900
LOCUST_ENDS = 90


@dataclass(frozen=True)
class Restart:
    """Seconds from the signal to the end of the process, and until the new one is ready."""

    node: str
    ended: float
    ready: float


@dataclass(frozen=True)
class Rolled:
    restarts: list[Restart]
    samples: list[Sample]

    @property
    def failed(self) -> Counter[str]:
        return Counter(f"{sample.operation}: {sample.error}" for sample in self.samples if sample.error)


def roll(rig: Rig, users: int) -> Rolled:
    """Under load from before the first restart until after the last one."""
    folder = rig.folder / "load"
    folder.mkdir()
    plan = _plan(rig, users, folder)
    with generating(plan, folder, RAMP_SECONDS, LONGEST_SECONDS, None) as locust:
        assert until(Path(plan.marks).exists), (folder / "generator.log").read_text()[-2000:]
        time.sleep(BETWEEN_SECONDS)
        restarts = [_restarted(rig, node) for node in (*rig.web, *rig.workers)]
        locust.send_signal(signal.SIGTERM)
        locust.wait(LOCUST_ENDS)
    return Rolled(restarts, list(read_samples(Path(plan.samples))))


def _restarted(rig: Rig, node: Node) -> Restart:
    print(f"restarting {node.name} …", flush=True)
    rig.keeper.paused.add(node.name)
    begun = time.monotonic()
    node.tell(signal.SIGTERM)
    node.wait_until_ended()
    ended = time.monotonic()
    node.start()
    node.wait_until_ready()
    ready = time.monotonic()
    rig.keeper.paused.discard(node.name)
    time.sleep(BETWEEN_SECONDS)
    return Restart(node.name, ended - begun, ready - begun)


def _plan(rig: Rig, users: int, folder: Path) -> Plan:
    rig.manage("seed", *(f"--{name}={size}" for name, size in SEED.items()))
    return Plan(
        profile=PROFILE.name,
        system="ragsite",
        url=rig.url,
        users=users,
        think=THINK,
        cache="on",
        model_seconds=MODEL.whole / 1000,
        accounts=_accounts(rig),
        questions=common_questions(PROFILE.questions.common),
        files=make_files(folder / "files", SMALL_TEXTS, FILES, seed=1),
        samples=str(folder / "samples.jsonl"),
        marks=str(folder / "marks.json"),
        seed=1,
    )


def _accounts(rig: Rig) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "tests.load.harness.accounts", str(ACCOUNTS)]
    done = subprocess.run(command, cwd=PROJECT_DIR, env=rig.commands, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    accounts: list[dict[str, str]] = found["accounts"]
    return accounts


def told(rolled: Rolled) -> str:
    """For people."""
    answers = [sample for sample in rolled.samples if sample.operation.startswith("answer")]
    lines = [f"{r.node:<12} ended after {r.ended:5.1f} s, ready after {r.ready:5.1f} s" for r in rolled.restarts]
    lines.append(f"{len(rolled.samples)} requests, {len(answers)} of them answers; {rolled.failed.total()} failed")
    return "\n".join([*lines, *(f"  {number} × {what}" for what, number in rolled.failed.most_common())])
