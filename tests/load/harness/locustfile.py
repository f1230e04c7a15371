"""The visitors as Locust's users. Locust runs this in a process of its own, which gevent has changed.

What they do is told by the JSON file that RAGSITE_LOAD_PLAN names; what happened goes to the files that it names.
"""

import json
import os
import random
import time
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import psutil
from locust import User, events, task
from locust.env import Environment

from tests.load.harness.arithmetic import percentile
from tests.load.harness.plan import Plan
from tests.load.harness.profiles import PROFILES, until_burst
from tests.load.harness.questions import Asked
from tests.load.harness.samples import Recorder, Sample
from tests.load.harness.systems import system_named
from tests.load.harness.systems.base import Account
from tests.load.harness.transport import GeventTransport
from tests.load.harness.visiting import Visitor

PLAN = Plan.read(Path(os.environ["RAGSITE_LOAD_PLAN"]))
PROFILE = PROFILES[PLAN.profile]
SYSTEM = system_named(PLAN.system)
ACCOUNTS = [Account(**account) for account in PLAN.accounts]
RECORDER = Recorder(Path(PLAN.samples))
TURNS_OF_ACCOUNTS, TURNS_OF_FILES = count(), count()
LATENESS: list[float] = []
LOOK_EVERY = 0.05
MARKS: dict[str, float] = {}


class Person(User):
    """What readers and people of a burst have in common."""

    abstract = True
    answer_name = "answer"

    def on_start(self) -> None:
        number = next(TURNS_OF_ACCOUNTS)
        account = ACCOUNTS[number % len(ACCOUNTS)]
        chooser = random.Random(PLAN.seed * 1_000_003 + number)
        self.chooser, self.transport = chooser, GeventTransport(PLAN.url)
        self.visitor = Visitor(
            session=SYSTEM.sign_in(account),
            account=account.name,
            transport=self.transport,
            asked=Asked(PLAN.questions, PROFILE.questions.fresh, chooser),
            chooser=chooser,
            record=self.record,
            manners=PROFILE.conversations,
            files=PLAN.files,
            turns_of_files=TURNS_OF_FILES,
            fresh_always=PLAN.cache == "off",
            sleep=gevent.sleep,
            model_seconds=PLAN.model_seconds,
            answer_name=self.answer_name,
        )

    def on_stop(self) -> None:
        self.transport.close()

    def record(self, sample: Sample) -> None:
        RECORDER.add(sample)
        self.environment.events.request.fire(
            request_type="",
            name=sample.operation,
            response_time=sample.whole * 1000,
            response_length=0,
            exception=RuntimeError(sample.error) if sample.error else None,
            context={},
        )


class Reader(Person):
    """Does one of the profile's actions, thinks, does the next."""

    fixed_count = PLAN.users

    def wait_time(self) -> float:
        return self.chooser.uniform(*PLAN.think)

    @task
    def act(self) -> None:
        action = self.chooser.choices(list(PROFILE.mix), list(PROFILE.mix.values()))[0]
        getattr(self.visitor, "ask" if action == "chat" else action)()


if PROFILE.burst:

    class Burster(Person):
        """Waits for the moment, and asks within one second with all others."""

        fixed_count = PLAN.users * PROFILE.burst
        answer_name = "answer in a burst"

        due = False

        def wait_time(self) -> float:
            self.due = "steady_at" in MARKS
            if not self.due:
                return LOOK_EVERY
            since = time.time() - MARKS["steady_at"]
            return until_burst(since, PROFILE.burst_first, PROFILE.burst_every) + self.chooser.random()

        @task
        def act(self) -> None:
            if self.due:
                self.visitor.ask()


def _watch_the_clock() -> None:
    """How late this process wakes: what visitors measure cannot be more exact."""
    while True:
        due = time.perf_counter() + LOOK_EVERY
        gevent.sleep(LOOK_EVERY)
        LATENESS.append(max(0.0, time.perf_counter() - due))


def _cpu_seconds() -> float:
    used = psutil.Process().cpu_times()
    return used.user + used.system


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    gevent.spawn(_watch_the_clock)


@events.spawning_complete.add_listener
def all_are_here(user_count: int, **_: Any) -> None:
    if "steady_at" not in MARKS:
        LATENESS.clear()
        MARKS.update(steady_at=time.time(), cpu_before=_cpu_seconds())
        _write_marks()


@events.test_stopping.add_listener
def stop(environment: Environment, **_: Any) -> None:
    """Locust calls it twice when it is told to stop by its clock."""
    if "ended_at" not in MARKS:
        MARKS.update(ended_at=time.time(), cpu_after=_cpu_seconds())
        late = LATENESS or [0.0]
        MARKS.update(late_p50=percentile(late, 50), late_p95=percentile(late, 95), late_most=max(late))
        _write_marks()


@events.quitting.add_listener
def finish(environment: Environment, **_: Any) -> None:
    RECORDER.close()
    environment.process_exit_code = 0


def _write_marks() -> None:
    draft = Path(PLAN.marks).with_suffix(".draft")
    draft.write_text(json.dumps(MARKS))
    draft.rename(PLAN.marks)
