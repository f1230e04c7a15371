"""Puts the site under load and says whether it keeps its service level.

    make load PROFILE=mixed USERS=100
    python -m tests.load.harness --profile mixed --users 50,100,200 --seconds 120

Starts a site of its own in a temporary folder with a stand-in for the language model, fills it, sends visitors, waits
for their documents, writes var/load/…/report.txt, report.json and plots, and ends everything that it has started. Its
exit status is 1 when a target that must be met was missed. docs/performance-testing-strategy.md
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragsite.layout import PROJECT_DIR
from tests.load.harness.plots import plot_knee, plot_step
from tests.load.harness.profiles import PROFILES
from tests.load.harness.report import text_of, title, verdicts_of
from tests.load.harness.run import Wish, run
from tests.load.harness.running import SEED, Target
from tests.load.harness.summary import Step
from tests.load.harness.targets import Verdict, probe_verdicts

KNEE_STEP_SECONDS = 120


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
    with _scratch(options.data) as scratch:
        wish = _wish(options, scratch)
        report, steps = run(wish)
        if report["probes"]:
            report["probe_figures"] = _probe_figures(report["probes"])
        found = [*verdicts_of(report), *(probe_verdicts(report["probe_figures"]) if report["probes"] else [])]
        _write(wish.folder, report, steps, found)
    print((wish.folder / "report.txt").read_text())
    print(f"report and plots: {os.path.relpath(wish.folder)}")
    sys.exit(any(verdict.missed for verdict in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="mixed")
    parser.add_argument("--users", default="", help="one number, or several with commas: rising users")
    parser.add_argument("--seconds", type=float, help="of each step, after all visitors have come")
    parser.add_argument("--runs", type=int, default=1, help="how often, for the spread")
    parser.add_argument(
        "--cache", default="", help="answer cache on or off, or no cache at all: none,off,on; a column each"
    )
    parser.add_argument("--first", type=float, help="the model's milliseconds to the first token")
    parser.add_argument("--delay", type=float, help="its milliseconds between tokens")
    parser.add_argument("--tokens", type=int, help="its tokens an answer")
    parser.add_argument("--failures", type=float, default=0.0, help="the share of its answers that fail")
    parser.add_argument("--data", type=Path, help="keep the site's data in this folder, and use what is there")
    parser.add_argument(
        "--report", type=Path, default=PROJECT_DIR / "var" / "load", help="where the report's folder goes"
    )
    parser.add_argument("--url", default="", help="a site that is running, instead of one of our own")
    parser.add_argument("--token", action="append", default=[], help="of one of its accounts; may be repeated")
    parser.add_argument("--system", default="ragsite", help="what kind of system it is: ragsite, open-webui:MODEL:ID")
    parser.add_argument(
        "--beside", nargs=3, metavar=("SYSTEM", "URL", "TOKEN"), help="another system for the same visitors"
    )
    parser.add_argument("--model-port", type=int, default=0, help="of the mock model, for a system that asks it too")
    parser.add_argument("--accounts", type=int, default=30, help="of the seeded ones")
    parser.add_argument("--without-probes", action="store_true", help="no second start, no retrieval by one user")
    parser.add_argument("--page", type=int, help="the port of Locust's own page while the load lasts")
    for name, size in SEED.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"seeded in all (default {size:,})")
    options = parser.parse_args()
    if options.url and not options.token:
        parser.error("--url needs a --token")
    return options


def _wish(options: argparse.Namespace, scratch: Path) -> Wish:
    profile = PROFILES[options.profile]
    users = [int(number) for number in options.users.split(",") if number] or [profile.users]
    usual = KNEE_STEP_SECONDS if len(users) > 1 else profile.seconds
    given = {name: value for name in ("first", "delay", "tokens") if (value := getattr(options, name)) is not None}
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Wish(
        profile=profile,
        users=users,
        seconds=options.seconds or usual,
        runs=options.runs,
        caches=options.cache.split(",") if options.cache else profile.caches,
        model=replace(profile.model, **given),
        failures=options.failures,
        folder=options.report.absolute() / f"{stamp}-{profile.name}-{'-'.join(map(str, users))}",
        scratch=scratch,
        seeded={name: getattr(options, name) for name in SEED},
        accounts=options.accounts,
        probes=not (options.without_probes or options.url),
        page=options.page,
        url=options.url.rstrip("/"),
        tokens=options.token,
        system=options.system,
        beside=_beside(options.beside) if options.beside else None,
        model_port=options.model_port,
    )


def _beside(given: Sequence[str]) -> Target:
    system, url, token = given
    return Target(url.rstrip("/"), system, [{"name": system, "token": token, "cookie": ""}])


@contextmanager
def _scratch(kept: Path | None) -> Any:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="ragsite-load-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _probe_figures(probes: dict[str, Any]) -> dict[str, float | None]:
    return {
        "retrieval_p50_ms": probes["retrieval"]["p50"] * 1000,
        "idle_memory_mb": probes["idle_memory"]["all"] / 1e6,
        "second_start": probes["second_start"],
    }


def _write(folder: Path, report: dict[str, Any], steps: Sequence[Step], found: Sequence[Verdict]) -> None:
    folder.mkdir(parents=True)
    report["verdicts"] = [verdict.as_json() for verdict in found]
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "report.txt").write_text(text_of(report, found))
    for figures, step in zip(report["steps"], steps, strict=True):
        column = f"{step.system.partition(':')[0]}-{step.users}-users-cache-{step.cache.replace(' ', '-')}"
        name = f"{column}-run-{figures['run']}"
        plot_step(step, folder / name, f"{step.profile}: {title(figures)}")
    if len({step.users for step in steps}) > 1:
        plot_knee(report["steps"], folder / "knee")


if __name__ == "__main__":
    main()
