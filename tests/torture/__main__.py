"""Kills parts of a site at random while accounts use it, lets it come to rest, and checks what it promised.

    make torture MINUTES=10
    python -m tests.torture --minutes 10 --seed 42

Prints the seed, what was killed, how long it took to recover, what was found; ends with code 1 if anything is wrong.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.torture.run import Torture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--pause", type=float, nargs=2, default=(1, 9), help="seconds between two kills")
    parser.add_argument("--log", type=Path, help="where to keep the site's own lines")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.minutes:g} minutes, {given.people} accounts", flush=True)
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        torture = Torture(Path(folder), given.seed, given.people, tuple(given.pause))
        try:
            torture.run(given.minutes * 60)
        finally:
            torture.end(given.log)
    print(torture.report())
    sys.exit(bool(torture.wrong))


if __name__ == "__main__":
    main()
