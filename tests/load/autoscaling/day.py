"""The day: a CSV of what happens each minute. `python -m tests.load.autoscaling.day` makes it anew.

It is not the log of a real site: nobody's traffic may be published here. It is made of the shape that office sites
have (a steep morning, a lunch, a second and lower peak, a tail) for 3,000 people at once at most, who behave as the
visitors of `make load PROFILE=mixed` do, with the noise of independent visitors; and one import in the morning peak.
"""

import csv
import random
from dataclasses import astuple, dataclass, fields
from math import exp
from pathlib import Path

FILE = Path(__file__).with_name("day.csv")
MINUTES = 24 * 60
SEED = 13
PEOPLE = 3000
SECONDS_BETWEEN = 10.6
"""From one action of a person to the next."""
SHARES = {"questions": 0.22, "reads": 0.75, "uploads": 0.03}
UPLOAD_KILOBYTES = 28
NIGHT = 0.02
PEAKS = ((10.4, 1.3, 1.0), (14.8, 1.6, 0.8), (20.5, 1.5, 0.12))
"""Hour, width in hours, height."""
IMPORT_BEGINS, IMPORT_MINUTES, IMPORT_DOCUMENTS, IMPORT_DOCUMENT_KILOBYTES = 10 * 60 + 40, 10, 30_000, 20


@dataclass(frozen=True)
class Minute:
    """What arrives within one minute."""

    minute: int
    questions: int
    reads: int
    kilobytes: int
    """Of text uploaded by people, one document at a time."""
    imported_kilobytes: int
    """Of text in the import."""


def people_at(minute: int) -> float:
    """How many are there."""
    hour = minute / 60
    shape = sum(height * exp(-(((hour - peak) / width) ** 2)) for peak, width, height in PEAKS)
    return PEOPLE * min(1.0, NIGHT + shape)


def made(seed: int = SEED) -> list[Minute]:
    """The whole day, the same for a seed."""
    dice = random.Random(seed)
    return [_made_minute(minute, dice) for minute in range(MINUTES)]


def _made_minute(minute: int, dice: random.Random) -> Minute:
    actions = people_at(minute) * 60 / SECONDS_BETWEEN

    def around(mean: float) -> int:
        return max(0, round(dice.gauss(mean, mean**0.5)))

    in_import = IMPORT_BEGINS <= minute < IMPORT_BEGINS + IMPORT_MINUTES
    return Minute(
        minute,
        around(actions * SHARES["questions"]),
        around(actions * SHARES["reads"]),
        around(actions * SHARES["uploads"]) * UPLOAD_KILOBYTES,
        in_import * IMPORT_DOCUMENTS * IMPORT_DOCUMENT_KILOBYTES // IMPORT_MINUTES,
    )


def write(minutes: list[Minute], path: Path = FILE) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Minute))
        writer.writerows(map(astuple, minutes))


def recorded(path: Path = FILE) -> list[Minute]:
    with path.open(newline="") as file:
        return [Minute(**{name: int(value) for name, value in row.items()}) for row in csv.DictReader(file)]


if __name__ == "__main__":
    write(made())
