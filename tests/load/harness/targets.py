"""The service level as data, and whether figures meet it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ragsite.service_level.targets import ADDED_SECONDS, CHAT_SECONDS, PROCESSING_SECONDS

MET, AIM, MISSED, UNKNOWN = "met", "aim reached", "MISSED", "not measured"
SERVICE_PROFILES = ("chat", "mixed", "soak", "burst", "ingest", "browse", "disconnect")
WITH_CHAT = ("mixed", "soak", "burst", "disconnect")
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Target:
    """``figure`` must be below (or, ``at_least``, not below) ``must``; ``aim`` is what would be better."""

    what: str
    figure: str
    unit: str
    must: float | None
    aim: float | None = None
    at_least: bool = False
    profiles: Sequence[str] = SERVICE_PROFILES
    cache: str | None = None
    """The column that is meant; None: each."""
    users: int | None = None
    """The number of users that it is promised for."""

    def verdict(self, value: float | None) -> str:
        if value is None:
            return UNKNOWN
        if self.aim is not None and self._holds(value, self.aim):
            return AIM
        if self.must is not None:
            return MET if self._holds(value, self.must) else MISSED
        return "aim not reached" if self.aim is not None else UNKNOWN

    def _holds(self, value: float, limit: float) -> bool:
        if self.at_least:
            return value >= limit
        return value < limit or (limit == 0 and value == 0)


TARGETS = (
    Target("chat answers, average", "answer_average", "s", CHAT_SECONDS, profiles=WITH_CHAT, users=100),
    Target("chat answers, p95", "answer_p95", "s", CHAT_SECONDS, profiles=WITH_CHAT, users=100),
    Target("chat answers, p99", "answer_p99", "s", CHAT_SECONDS, profiles=WITH_CHAT, users=100),
    Target(
        "documents processed, average",
        "processed_average",
        "s",
        PROCESSING_SECONDS,
        profiles=("mixed", "soak", "ingest"),
    ),
    Target("documents processed, p95", "processed_p95", "s", PROCESSING_SECONDS, profiles=("mixed", "soak", "ingest")),
    Target("errors", "errors", "", 0.0, profiles=(*SERVICE_PROFILES, "slow-model")),
    Target("added to the first word, p95", "added_first_p95", "s", None, ADDED_SECONDS, profiles=("mixed",), users=100),
    Target("answers without a pause, p95", "answer_p95", "s", 2.5, 1.7, profiles=("chat",), cache="off", users=100),
    Target("answers a second", "answers_a_second", "/s", 45, 60, True, profiles=("chat",), cache="off", users=100),
    Target("processor time an answer", "cpu_ms_an_answer", "ms", 25, 12, profiles=("chat",), cache="off", users=100),
    Target("memory at work (PSS)", "memory_mb", "MB", 1200, 700, profiles=("mixed",), users=100),
    Target("growth of memory", "memory_mb_an_hour", "MB/h", 100, 20, profiles=("soak",), users=100),
)
PROBE_TARGETS = (
    Target("retrieval alone, one user, p50", "retrieval_p50_ms", "ms", 12, 6),
    Target("memory at rest (PSS)", "idle_memory_mb", "MB", 700, 400),
    Target("second start to the first page", "second_start", "s", 6, 3),
)
KNEE = Target("users at chat p95 < 3 s and no error", "users", "users", 300, 1000, True, profiles=("mixed",))
KNEE_SECONDS = CHAT_SECONDS


@dataclass(frozen=True)
class Verdict:
    """One line."""

    target: Target
    value: float | None
    cache: str = ""
    users: int | None = None

    @property
    def told(self) -> str:
        return self.target.verdict(self.value)

    @property
    def missed(self) -> bool:
        return self.told == MISSED

    def as_json(self) -> dict[str, Any]:
        fields = {name: getattr(self.target, name) for name in ("what", "unit", "must", "aim")}
        return {**fields, "value": self.value, "verdict": self.told, "cache": self.cache, "users": self.users}

    def line(self) -> str:
        limits = ", ".join(
            f"{name} {'≥' if self.target.at_least else '<' if limit else '='} {limit:g} {self.target.unit}".strip()
            for name, limit in (("must", self.target.must), ("aim", self.target.aim))
            if limit is not None
        )
        value = "–" if self.value is None else f"{self.value:.4g} {self.target.unit}".strip()
        where = [f"answer cache {self.cache}"] if self.cache else []
        if self.users is not None and self.target.users is not None and self.users != self.target.users:
            where.append(f"with {self.users} users, promised for {self.target.users}")
        told = f" ({'; '.join(where)})" if where else ""
        return f"{self.told:16} {self.target.what}: {value}, {limits}{told}"


def verdicts(profile: str, cache: str, users: int, figures: Figures) -> list[Verdict]:
    """A line for each target of this profile and column."""
    meant = [target for target in TARGETS if profile in target.profiles and target.cache in (None, cache)]
    return [Verdict(target, figures.get(target.figure), cache, users) for target in meant]


def probe_verdicts(figures: Figures) -> list[Verdict]:
    return [Verdict(target, figures.get(target.figure)) for target in PROBE_TARGETS]


def knee(steps: Sequence[tuple[int, float | None, int]]) -> int:
    """The most users of which all steps up to it held: (users, chat p95, errors) in rising order."""
    reached = 0
    for users, p95, errors in steps:
        if errors or p95 is None or p95 >= KNEE_SECONDS:
            break
        reached = users
    return reached
