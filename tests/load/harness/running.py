"""Starts and ends what a run needs: the site, its visitors' accounts and files, the generator."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Any

from ragsite.embedded.kernel import die_with_parent
from ragsite.layout import PROJECT_DIR
from tests.instance import Instance, until
from tests.load.harness.plan import Plan
from tests.load.mock_process import MockModel

LEASH = (sys.executable, "-m", "tests.load.harness.leashed")
SEED = {"owners": 60, "documents": 1200, "chunks": 12_000, "conversations": 1200, "messages": 9600}
"""What the seeded site holds; owners are skewed: the first have most."""
STOP_SECONDS = 60
OWN_SETTINGS = ("RAGSITE_DATA_DIR", "RAGSITE_PORT", "RAGSITE_HOST", "RAGSITE_LOAD_PLAN")


@dataclass
class Target:
    """The system under load. ``site`` is there when the harness has started it, else only the address is known."""

    url: str
    system: str
    accounts: list[dict[str, str]]
    admin: dict[str, str] | None = None
    site: Instance | None = None
    settings: dict[str, str] = field(default_factory=dict)


def passed_on() -> dict[str, str | None]:
    """Settings of the caller that the site under load takes over, so that a setting can be tried."""
    names = [name for name in os.environ if name.startswith(("RAGSITE_", "EMBEDDING_")) and name not in OWN_SETTINGS]
    return {name: os.environ[name] for name in names}


def new_site(folder: Path, model: MockModel, **settings: str) -> Instance:
    """A site of its own that asks the mock model, with its own defaults but for what the caller sets."""
    made = PROJECT_DIR / "var" / "models"
    if made.is_dir() and not (folder / "models").exists():
        (folder / "models").symlink_to(made.resolve())
    site = _started(folder, model, **settings)
    try:
        return site.wait_until_ready()
    except AssertionError:
        site.end()
        raise


def _started(folder: Path, model: MockModel, **more: str) -> Instance:
    settings: dict[str, str | None] = {"RAGSITE_WORKERS": None, "RAGSITE_THROTTLE": "off", **passed_on(), **more}
    return Instance(folder, *LEASH, **settings, LLM_BASE_URL=model.url, LLM_MODEL="mock")


def seed(site: Instance, sizes: dict[str, int]) -> None:
    """With vectors, as a library has whose documents were processed."""
    done = site.manage("seed", "--embeddings", *(f"--{name}={size}" for name, size in sizes.items()))
    if done.returncode:
        raise RuntimeError(f"the site could not be seeded:\n{done.stderr[-2000:]}")


def sign_in_all(site: Instance, count: int) -> dict[str, Any]:
    """Tokens and cookies of the first seeded accounts, and of an administrator."""
    command = [sys.executable, "-m", "tests.load.harness.accounts", str(count)]
    done = subprocess.run(command, cwd=PROJECT_DIR, env=site.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no accounts:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def seconds_to_first_page(folder: Path, model: MockModel) -> tuple[Instance, float]:
    """Start a site that has been started before; seconds until its sign-in page is there."""
    started = time.monotonic()
    site = _started(folder, model)
    if not until(lambda: site.status("/accounts/login/") == 200, seconds=120):
        site.end()
        raise RuntimeError(f"no first page:\n{site.lines[-2000:]}")
    return site, time.monotonic() - started


@dataclass
class Marks:
    """What the generator tells of itself. Moments are seconds since the epoch; lateness is in seconds."""

    steady_at: float
    ended_at: float
    cpu: float
    late_p50: float
    late_p95: float
    late_most: float


@contextmanager
def generating(plan: Plan, folder: Path, ramp: float, seconds: float, page: int | None) -> Iterator[subprocess.Popen]:
    """Locust in a process of its own, which gevent has changed; ended with this block whatever happens."""
    plan.write(folder / "plan.json")
    command = [*_command(plan, ramp, seconds), *_with_page(page)]
    with (folder / "generator.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            env={**os.environ, "RAGSITE_LOAD_PLAN": str(folder / "plan.json")},
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, SIGTERM, os.getpid()),
        )
        try:
            yield process
        finally:
            _end(process)


def _command(plan: Plan, ramp: float, seconds: float) -> list[str]:
    from tests.load.harness.profiles import PROFILES

    people = plan.users * (1 + PROFILES[plan.profile].burst)
    rate = max(1.0, people / ramp)
    locustfile = str(Path(__file__).with_name("locustfile.py"))
    return [
        *(sys.executable, "-m", "locust", "-f", locustfile, "--host", plan.url),
        *("-u", str(people), "-r", f"{rate:.2f}", "-t", f"{round(people / rate + seconds)}s"),
        *("--stop-timeout", str(STOP_SECONDS), "--only-summary", "--skip-log-setup"),
    ]


def _with_page(port: int | None) -> Sequence[str]:
    """Locust's own page while the load lasts, if it is wanted."""
    if port is None:
        return ("--headless",)
    return ("--autostart", "--autoquit", "1", "--web-host", "127.0.0.1", "--web-port", str(port))


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def read_marks(plan: Plan, log: Path) -> Marks:
    try:
        found = json.loads(Path(plan.marks).read_text())
        late = (found["late_p50"], found["late_p95"], found["late_most"])
        return Marks(found["steady_at"], found["ended_at"], found["cpu_after"] - found["cpu_before"], *late)
    except (OSError, KeyError) as error:
        raise RuntimeError(f"the generator did not get to its end:\n{log.read_text()[-3000:]}") from error


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
