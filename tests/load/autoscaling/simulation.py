"""The day, five seconds at a time: what arrives, what the replicas get done, what the rules make of it."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.load.autoscaling import costs
from tests.load.autoscaling.day import Minute
from tests.load.autoscaling.rules import SYNC_SECONDS, Rules, Scaler, by_ratio, by_share

STEP = 5.0
START_SECONDS = 45.0
"""From the decision until a replica works: placed, its image pulled, started. An assumption: clusters differ."""
LAG_SECONDS = 30.0
"""How old what the rules look at is: Prometheus scrapes every 15 s, KEDA and the adapter look every 15 s."""

Metric = Literal["Value and cpu", "Value", "AverageValue"]
"""By what workers are scaled: the age of the oldest document, as its type is in the autoscaler; that and their use."""


@dataclass
class Fleet:
    """The replicas of one kind: those that are wanted, and since when; a new one works after START_SECONDS."""

    scaler: Scaler | None
    replicas: int
    _starting: deque[tuple[float, int]] = field(default_factory=deque)
    ready: int = 0

    def __post_init__(self) -> None:
        self.ready = self.replicas

    def decide(self, now: float, wanted: Callable[[int, int], Sequence[int]]) -> None:
        """``wanted`` takes all replicas and the ready ones."""
        if self.scaler is None:
            return
        before, self.replicas = self.replicas, self.scaler.decide(now, wanted(self.replicas, self.ready))
        if self.replicas > before:
            self._starting.append((now + START_SECONDS, self.replicas - before))
        self.tend(now)

    def tend(self, now: float) -> None:
        while self._starting and self._starting[0][0] <= now:
            self.ready += self._starting.popleft()[1]
        self.ready = min(self.ready, self.replicas)


class Line:
    """Work that waits, first come first served: (when it came, how much is left of it)."""

    def __init__(self) -> None:
        self._waiting: deque[list[float]] = deque()

    def put(self, now: float, amount: float) -> None:
        if amount > 0:
            self._waiting.append([now, amount])

    def work(self, amount: float) -> float:
        """Do as much of it as can be done; what was done."""
        done = 0.0
        while self._waiting and done < amount:
            part = min(self._waiting[0][1], amount - done)
            self._waiting[0][1] -= part
            done += part
            if self._waiting[0][1] <= 1e-9:
                self._waiting.popleft()
        return done

    def age(self, now: float) -> float:
        return now - self._waiting[0][0] if self._waiting else 0.0

    @property
    def amount(self) -> float:
        return sum(left for _, left in self._waiting)


@dataclass(frozen=True)
class Sample:
    """The state at one moment."""

    seconds: float
    web: int
    workers: int
    age: float
    """Of the oldest document that waits."""
    delay: float
    """What requests wait at the web nodes for a processor."""
    database: float
    """Cores that PostgreSQL needs for what is being done."""


def simulate(
    day: Sequence[Minute],
    web: Rules | int,
    workers: Rules | int,
    metric: Metric = "Value and cpu",
) -> list[Sample]:
    """A number instead of rules stays as it is."""
    return list(Day(day, _fleet(web), _fleet(workers), metric).run())


def _fleet(rules: Rules | int) -> Fleet:
    return Fleet(None, rules) if isinstance(rules, int) else Fleet(Scaler(rules, rules.least), rules.least)


class Day:
    """One run."""

    def __init__(self, day: Sequence[Minute], web: Fleet, workers: Fleet, metric: Metric) -> None:
        self.day, self.web, self.workers, self.metric = day, web, workers, metric
        self.requests, self.documents = Line(), Line()
        self._seen: deque[tuple[float, float, float, float, float]] = deque()
        """When; the web nodes' use of their processors, answers in flight, age of the oldest document, workers' use."""

    def run(self) -> Sequence[Sample]:
        steps = int(len(self.day) * 60 / STEP)
        return [self._step(number * STEP) for number in range(steps)]

    def _step(self, now: float) -> Sample:
        minute = self.day[int(now // 60)]
        questions, reads = minute.questions / 60, minute.reads / 60
        self.requests.put(now, costs.web_cores(questions, reads) * STEP)
        self.documents.put(now, (minute.kilobytes + minute.imported_kilobytes) / 60 * STEP)
        used = self.requests.work(self.web.ready * costs.WEB_CORES * STEP)
        embedded = self.documents.work(self.workers.ready * costs.WORKER_KILOBYTES_A_SECOND * STEP)
        delay = self.requests.amount / (self.web.ready * costs.WEB_CORES)
        in_flight = questions * (costs.ANSWER_SECONDS + delay)
        age = self.documents.age(now + STEP)
        busy = embedded / STEP / costs.WORKER_KILOBYTES_A_SECOND / self.workers.replicas
        self._seen.append((now, used / STEP / self.web.replicas, in_flight, age, busy))
        self._scale(now)
        database = costs.database_cores(questions, reads, embedded / STEP)
        return Sample(now, self.web.replicas, self.workers.replicas, age, delay, database)

    def _scale(self, now: float) -> None:
        for fleet in (self.web, self.workers):
            fleet.tend(now)
        while len(self._seen) > 1 and self._seen[1][0] <= now - LAG_SECONDS:
            self._seen.popleft()
        if now % SYNC_SECONDS == 0:
            _, use, in_flight, age, busy = self._seen[0]
            self.web.decide(now, lambda current, ready: self._web_wants(current, use, in_flight))
            self.workers.decide(now, lambda current, ready: self._workers_want(current, ready, age, busy))

    def _web_wants(self, current: int, use: float, in_flight: float) -> list[int]:
        targets = self.web.scaler.rules.targets if self.web.scaler else {}
        running = by_share(current, in_flight, targets["ragsite_answers_running"])
        return [by_ratio(current, current, use, targets["cpu"]), running]

    def _workers_want(self, current: int, ready: int, age: float, busy: float) -> list[int]:
        targets = self.workers.scaler.rules.targets if self.workers.scaler else {}
        if self.metric == "AverageValue":
            return [by_share(current, age, targets["age"])]
        by_age = by_ratio(current, max(1, ready), age, targets["age"])
        return [by_age, by_ratio(current, current, busy, targets["cpu"])] if "cpu" in self.metric else [by_age]


@dataclass(frozen=True)
class Outcome:
    """What a day came to."""

    oldest: float
    late_minutes: float
    """In which the oldest document was older than the service level allows."""
    slow_minutes: float
    """In which requests waited over a second for a processor."""
    core_hours: float
    most: tuple[int, int]
    database: float


def outcome(samples: Sequence[Sample], level_seconds: float = 300.0) -> Outcome:
    cores = sum(s.web * costs.WEB_CORES + s.workers * costs.WORKER_CORES for s in samples)
    return Outcome(
        max(s.age for s in samples),
        sum(s.age > level_seconds for s in samples) * STEP / 60,
        sum(s.delay > 1 for s in samples) * STEP / 60,
        cores * STEP / 3600,
        (max(s.web for s in samples), max(s.workers for s in samples)),
        max(s.database for s in samples),
    )
