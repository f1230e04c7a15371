"""A whole run: the site and what it is asked, step after step, and what was found."""

import math
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ragsite.layout import PROJECT_DIR
from tests.load.harness.files import make_files
from tests.load.harness.level import picture_later, told_by_site
from tests.load.harness.machine import calibrate, description
from tests.load.harness.offered import cache_counters, counted_between
from tests.load.harness.plan import Plan
from tests.load.harness.probes import Probes, probe
from tests.load.harness.profiles import Profile, think_time
from tests.load.harness.questions import common_questions
from tests.load.harness.running import (
    STOP_SECONDS,
    Target,
    emptied,
    generating,
    new_site,
    passed_on,
    read_marks,
    seconds_to_first_page,
    seed,
    sign_in_all,
)
from tests.load.harness.samples import read_samples
from tests.load.harness.summary import Step, summarise
from tests.load.harness.systems import system_named
from tests.load.harness.systems.base import Account
from tests.load.harness.waiting import uploaded, wait_for_documents
from tests.load.harness.watching import Watcher, cache_figures, database_bytes, figures_between, folder_bytes
from tests.load.mock_model import Times
from tests.load.mock_process import MockModel, running_mock_process

Json = dict[str, Any]
LEAST_FILES, MOST_FILES = 5, 2000
ACTION_SECONDS = 1.0
SETTLE_SECONDS = 3.0
CALM_DRAIN = 60


@dataclass(frozen=True)
class Wish:
    """What is to be run."""

    profile: Profile
    users: Sequence[int]
    seconds: float
    runs: int
    caches: Sequence[str]
    model: Times
    failures: float
    folder: Path
    """Where the report goes."""
    scratch: Path
    """Where the site lives, and the files to upload."""
    seeded: dict[str, int]
    accounts: int = 30
    probes: bool = True
    page: int | None = None
    url: str = ""
    tokens: Sequence[str] = ()
    system: str = "ragsite"
    beside: Target | None = None
    """Another system, which gets the same visitors after ours at each step."""
    model_port: int = 0

    @property
    def ramp(self) -> float:
        """Seconds in which the visitors come, which are not counted."""
        return max(2.0, min(30.0, self.seconds / 5))


def run(wish: Wish) -> tuple[Json, list[Step]]:
    """The report's figures, and the steps for the plots."""
    steps, figures = [], []
    with ExitStack() as stack:
        model = stack.enter_context(running_mock_process(wish.model, wish.failures, wish.model_port))
        target, probes = stack.enter_context(prepared(wish, model))
        for number in range(1, wish.runs + 1):
            for users in wish.users:
                for asked, cache in _columns(wish, target):
                    told = f"{wish.profile.name}: {asked.system}, {users} users, answer cache {cache}, run {number}"
                    print(f"{told} …", flush=True)
                    switch_caches(wish, asked, model, cache)
                    step = run_step(wish, asked, model, users, cache)
                    steps.append(step)
                    figures.append({"run": number, **summarise(step)})
    return {**_head(wish, target), "probes": probes and asdict(probes), "steps": figures}, steps


def _columns(wish: Wish, target: Target) -> list[tuple[Target, str]]:
    """Ours with the answer cache on or off, or no cache at all; and the other system once, as it is."""
    ours = [(target, cache) for cache in wish.caches]
    return [*ours, (wish.beside, "as it is")] if wish.beside else ours


@contextmanager
def prepared(wish: Wish, model: MockModel) -> Iterator[tuple[Target, Probes | None]]:
    """A site of our own, seeded, with accounts; or the one at the address that was given."""
    if wish.url:
        accounts = [{"name": f"account {n}", "token": token, "cookie": ""} for n, token in enumerate(wish.tokens, 1)]
        yield Target(wish.url, wish.system, accounts), None
        return
    folder = wish.scratch / "site"
    folder.mkdir(parents=True, exist_ok=True)
    site = new_site(folder, model)
    target: Target | None = None
    with ExitStack() as stack:
        stack.callback(lambda: (target.site if target and target.site else site).end())  # whichever is running
        print("seeding …", flush=True)
        seed(site, wish.seeded)
        people = sign_in_all(site, wish.accounts)
        second = 0.0
        if wish.probes:
            site.end()
            site, second = seconds_to_first_page(folder, model)
        site.wait_until_ready()
        settings = {name: value or "" for name, value in passed_on().items()}
        url = f"http://127.0.0.1:{site.port}"
        target = Target(url, "ragsite", people["accounts"], people["admin"], site, settings)
        probes = None
        if wish.probes:
            probes = probe(site, second, people["accounts"][0]["token"], common_questions(300, seed=2))
        yield target, probes


def switch_caches(wish: Wish, target: Target, model: MockModel, cache: str) -> None:
    """Start a site of our own anew where its caches are to be all off (``none``), or on again."""
    wanted = "all" if cache == "none" else os.environ.get("RAGSITE_CACHES_OFF", "")
    if target.site is None or target.settings.get("RAGSITE_CACHES_OFF", "") == wanted:
        return
    target.site.end()
    target.site = new_site(wish.scratch / "site", model, RAGSITE_CACHES_OFF=wanted)
    target.url = f"http://127.0.0.1:{target.site.port}"
    target.settings = {**target.settings, "RAGSITE_CACHES_OFF": wanted}


def run_step(wish: Wish, target: Target, model: MockModel, users: int, cache: str) -> Step:
    """One number of users with the answer cache on or off."""
    folder = emptied(wish.scratch / "step")
    plan = _plan(wish, target, folder, users, cache)
    before, told = calibrate(), _told_by(target)
    model.reset()
    running: dict[str, int] = {"model": model.pid}
    with Watcher(target.site, lambda: running) as watcher:
        with generating(plan, folder, wish.ramp, wish.seconds, wish.page) as process:
            running["generator"] = process.pid
            picture = picture_later(target.url, (target.admin or {}).get("cookie", ""), wish.ramp + wish.seconds / 2)
            process.wait(wish.ramp + wish.seconds + 2 * STOP_SECONDS + 120)
        if picture is not None:
            picture.join()
        marks = read_marks(plan, folder / "generator.log")
        samples = list(read_samples(Path(plan.samples)))
        accounts = [Account(**account) for account in target.accounts]
        progress = wait_for_documents(
            system_named(target.system), target.url, accounts, uploaded(samples), wish.profile.drain_seconds
        )
        time.sleep(SETTLE_SECONDS)
    after = _told_by(target)
    level = told_by_site(target.site, marks.steady_at - wish.ramp) if target.site else []
    return Step(
        profile=wish.profile.name,
        system=target.system,
        cache=cache,
        users=users,
        think=plan.think,
        model=wish.model,
        samples=samples,
        marks=marks,
        watched=watcher.watched,
        documents=progress,
        mock=model.stats(),
        calibrations=(before, calibrate()),
        cores=int(description()["cores"]),
        drained=all(document.over for document in progress),
        valkey=figures_between(told["valkey"], after["valkey"]) if target.site else None,
        metrics=counted_between(told["metrics"], after["metrics"]),
        disk=figures_between(told["disk"], after["disk"]) if target.site else {},
        level=level,
    )


def _plan(wish: Wish, target: Target, folder: Path, users: int, cache: str) -> Plan:
    profile, think = wish.profile, think_time(wish.profile, users)
    return Plan(
        profile=profile.name,
        system=target.system,
        url=target.url,
        users=users,
        think=think,
        cache=cache,
        model_seconds=wish.model.whole / 1000,
        accounts=target.accounts,
        questions=common_questions(profile.questions.common),
        files=_files(wish, users, sum(think) / 2),
        samples=str(folder / "samples.jsonl"),
        marks=str(folder / "marks.json"),
        seed=int(time.time()) % 100_000,
    )


def _files(wish: Wish, users: int, think: float) -> list[str]:
    """Somewhat more than will be uploaded."""
    share = wish.profile.mix.get("upload", 0) / 100
    if not share:
        return []
    expected = share * users / (think + ACTION_SECONDS) * (wish.seconds + wish.ramp)
    count = min(MOST_FILES, LEAST_FILES + math.ceil(1.2 * expected))
    return make_files(wish.scratch / "files", wish.profile.files, count, users)


def _told_by(target: Target) -> Json:
    """What the site and its servers count from their start on."""
    token = (target.admin or target.accounts[0])["token"]
    found: Json = {"metrics": cache_counters(target.url, token)}
    if target.site:
        found["valkey"] = cache_figures(target.site)
        found["disk"] = {"database": database_bytes(target.site), "data folder": folder_bytes(target.site)}
    return found


def _head(wish: Wish, target: Target) -> Json:
    model = wish.model
    return {
        "profile": wish.profile.name,
        "about": wish.profile.about,
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "system": target.system,
        "commit": _commit(),
        "machine": description(),
        "model": f"the mock model ({model.first:g} ms, {model.tokens} tokens at {model.delay:g} ms)",
        "settings": target.settings,
        "seeded": wish.seeded if target.site else {},
        "ramp": wish.ramp,
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
