"""What happened to one action of one visitor, as the generator writes it and the report reads it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Sample:
    """``started`` in seconds since the epoch; ``first`` (to the first event) and ``whole`` in seconds from it."""

    operation: str
    started: float
    whole: float
    first: float | None = None
    error: str = ""
    """What kind of failure it was; empty when it went well."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def went_well(self) -> bool:
        return not self.error


class Recorder:
    """Samples as JSON lines."""

    def __init__(self, path: Path) -> None:
        self.file: IO[str] = path.open("w", buffering=1 << 16)

    def add(self, sample: Sample) -> None:
        self.file.write(json.dumps(asdict(sample)) + "\n")

    def close(self) -> None:
        self.file.close()


def read_samples(path: Path) -> Iterator[Sample]:
    with path.open() as file:
        for line in file:
            yield Sample(**json.loads(line))
