"""A site on several machines, all of them on this one, of which one part after the other is killed under load.

    make scale-test
    make scale-test ROLL=1      # restarts every node in turn instead; no request may fail

Starts a primary and a streaming replica, PgBouncer, Valkey, two web nodes behind HAProxy, two worker nodes and a
stand-in for the model; accounts upload, ask and read meanwhile. Prints what was lost and how long each recovery took.
Its exit status is 1 if anything was lost that had been accepted, 2 where HAProxy or PgBouncer are not installed.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scale import report
from tests.scale.faults import Killer
from tests.scale.losses import audited, losses, settle
from tests.scale.rig import Rig, missing, running_rig
from tests.scale.rolling import roll, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--calm", type=float, default=10, help="seconds of load before the first kill")
    parser.add_argument("--roll", action="store_true", help="restart the nodes in turn instead of killing parts")
    parser.add_argument("--users", type=int, default=20, help="of Locust, with --roll")
    parser.add_argument("--logs", type=Path, help="where to keep what all parts have said")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
    if missing:
        print(f"not run: {' and '.join(missing)} not installed (apt-get install {' '.join(missing)})", file=sys.stderr)
        sys.exit(2)
    print(f"seed {given.seed}; starting …", flush=True)
    with tempfile.TemporaryDirectory(prefix="ragsite-scale-") as folder, kept_logs(Path(folder), given.logs):
        Path(folder).chmod(0o755)  # PostgreSQL and PgBouncer run as others than root
        started = time.monotonic()
        with running_rig(Path(folder)) as rig:
            print(f"all parts run after {time.monotonic() - started:.0f} s", flush=True)
            found = roll_all(rig, given.users) if given.roll else run(rig, given.visitors, given.seed, given.calm)
    sys.exit(bool(found))


@contextmanager
def kept_logs(folder: Path, place: Path | None) -> Iterator[None]:
    try:
        yield
    finally:
        if place:
            place.mkdir(parents=True, exist_ok=True)
            for log in folder.rglob("*.log"):
                shutil.copy(log, place / log.name)


def run(rig: Rig, count: int, seed: int, calm: float) -> list[str]:
    """Load, kills, rest, and the report; returns what is wrong."""
    over = threading.Event()
    visitors = rig.visitors(count, seed, over)
    killer = Killer(rig, visitors)
    for visitor in visitors:
        visitor.thread.start()
    time.sleep(calm)
    killer.kill_each()
    over.set()
    for visitor in visitors:
        visitor.thread.join()
    killer.count()
    found = [*settle(visitors), *losses(visitors), *(wrong for visitor in visitors for wrong in visitor.wrong)]
    wrong, counts = audited(rig)
    found += [*wrong, *killer.broken_promises()]
    print(f"\n{report.table(killer.faults)}\n\nwhat failed, and was sent again:\n{report.kinds(killer.faults)}\n")
    print(f"{report.totals(visitors, found)}\nthe site's own audit: {counts}")
    print(f"\nWRONG ({len(found)}):\n{report.wrong(found)}" if found else "nothing was lost")
    if rig.keeper.troubles:
        print(f"the keeper: {rig.keeper.troubles[:5]}")
    return found


def roll_all(rig: Rig, users: int) -> list[str]:
    rolled = roll(rig, users)
    print(told(rolled))
    return list(rolled.failed)


if __name__ == "__main__":
    main()
