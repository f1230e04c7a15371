"""What the harness tells the generator, as a JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """One step of one profile; ``samples`` and ``marks`` are files that the generator writes."""

    profile: str
    system: str
    url: str
    users: int
    think: tuple[float, float]
    cache: str
    model_seconds: float
    accounts: list[dict[str, str]]
    questions: list[str]
    files: list[str]
    samples: str
    marks: str
    seed: int = 1

    @classmethod
    def read(cls, path: Path) -> "Plan":
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))
