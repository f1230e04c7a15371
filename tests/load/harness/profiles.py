"""What the visitors of each profile do, in numbers.

The arithmetic behind them is written down in docs/performance-testing-strategy.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.load.mock_model import Times

CALM_USERS, CROWD_USERS = 300, 1000
CALM_THINK, CROWD_THINK = (5.0, 15.0), (15.0, 45.0)
NO_PAUSE = (0.0, 0.0)
USUAL_MODEL = Times()
SLOW_MODEL = Times(first=3000, delay=100)
KB, MB = 1000, 1_000_000

Files = tuple[tuple[str, int, float], ...]
"""Kind, size in bytes (0: as the file is) and share of the uploads."""
SMALL_TEXTS: Files = (("text", 10 * KB, 0.90), ("text", 100 * KB, 0.09), ("text", MB, 0.01))
ALL_FORMATS: Files = (
    ("text", KB, 0.25),
    ("text", 10 * KB, 0.25),
    ("format", 0, 0.30),
    ("text", 100 * KB, 0.10),
    ("report", 0, 0.06),
    ("text", MB, 0.03),
    ("pictures", 50 * MB, 0.01),
)


@dataclass(frozen=True)
class Questions:
    """Where questions are drawn from."""

    common: int = 300
    """So many are asked again and again: the k-th with a weight of 1/k (Zipf)."""
    fresh: float = 0.4
    """The share that nobody has asked before."""


@dataclass(frozen=True)
class Conversations:
    """How conversations go on."""

    follow_up: float = 0.5
    """The share of questions that go on in the visitor's conversation."""
    longest: int = 12
    long_visitors: float = 0.1
    """The share of visitors whose one conversation goes on up to ``longest_of_all`` questions."""
    longest_of_all: int = 60
    streamed: float = 0.8


@dataclass(frozen=True)
class Profile:
    """One kind of load; ``users`` and ``seconds`` are those of the acceptance run."""

    name: str
    about: str
    mix: Mapping[str, int]
    """Per cent of what visitors do: browse, chat, upload, vanish."""
    users: int
    seconds: int
    think: tuple[float, float] | None = None
    """Seconds between two actions, evenly spread; None: by the number of users (``think_time``)."""
    model: Times = USUAL_MODEL
    files: Files = SMALL_TEXTS
    questions: Questions = field(default_factory=Questions)
    conversations: Conversations = field(default_factory=Conversations)
    caches: tuple[str, ...] = ("on",)
    """Answer caches on or off, a column each."""
    burst: int = 0
    """So many times the users ask within one second, every ``burst_every`` seconds."""
    burst_every: float = 30.0
    burst_first: float = 5.0
    """Seconds from the beginning of the steady time."""
    drain_seconds: int = 300
    """How long documents may take to be processed after the last visitor has gone."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "chat",
            "questions of 3 to 60 words, follow-ups, long conversations, one after the other without a pause",
            {"chat": 100},
            users=100,
            seconds=180,
            think=NO_PAUSE,
            caches=("off", "on"),
        ),
        Profile(
            "ingest",
            "files of all formats from 1 KB to 50 MB",
            {"upload": 100},
            users=4,
            seconds=180,
            think=(4.0, 8.0),
            files=ALL_FORMATS,
            drain_seconds=900,
        ),
        Profile(
            "browse",
            "lists, details, search, and the HTML pages",
            {"browse": 100},
            users=50,
            seconds=180,
            think=(0.5, 1.5),
        ),
        Profile(
            "mixed",
            "75 % browse, 22 % chat, 3 % upload",
            {"browse": 75, "chat": 22, "upload": 3},
            users=100,
            seconds=600,
        ),
        Profile(
            "burst",
            "mixed, and every 30 seconds ten times as many questions as there are users within one second",
            {"browse": 75, "chat": 22, "upload": 3},
            users=20,
            seconds=300,
            burst=10,
        ),
        Profile(
            "soak",
            "mixed for half an hour: does anything grow?",
            {"browse": 75, "chat": 22, "upload": 3},
            users=100,
            seconds=1800,
        ),
        Profile(
            "disconnect",
            "readers who vanish in the middle of an answer; half come back and go on where they were, half never",
            {"vanish": 100},
            users=50,
            seconds=180,
            think=(1.0, 3.0),
        ),
        Profile(
            "slow-model",
            "a model that needs 3 s to its first token and 9 s for an answer: does anybody else wait?",
            {"browse": 50, "chat": 50},
            users=100,
            seconds=300,
            think=CALM_THINK,
            model=SLOW_MODEL,
        ),
    )
}


def think_time(profile: Profile, users: int) -> tuple[float, float]:
    """Seconds: 5–15 up to 300 users, 15–45 at 1,000, and in a straight line between."""
    if profile.think is not None:
        return profile.think
    share = min(1.0, max(0.0, (users - CALM_USERS) / (CROWD_USERS - CALM_USERS)))
    low, high = (calm + share * (crowd - calm) for calm, crowd in zip(CALM_THINK, CROWD_THINK, strict=True))
    return low, high


def until_burst(since: float, first: float, every: float) -> float:
    """Seconds until the next burst, ``since`` seconds into the steady time."""
    return first - since if since < first else every - (since - first) % every
