"""What a replica takes off the primary: statements and processor time of both, of the same visits with and without it.

    make bench-replicas                 3,000 visits to a seeded site of 20 accounts; some minutes

Two PostgreSQL servers (tests/scale/replica.py) and the real site, first without and then with DATABASE_REPLICA_URLS.
``once`` reads each address once, as people who browse; ``again`` reads few of them often, as people who work. One visit
in fifty changes something. A read is a list, a detail, a text or a search over REST.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from ragsite.layout import PROJECT_DIR
from tests.instance import Instance, free_port, until
from tests.scale.replica import Node, address, children

ACCOUNTS = 20
ROWS = {"documents": 2000, "chunks": 10_000, "conversations": 2000, "messages": 10_000}
THREADS = 4
WRITES = 0.02
WORDS = ("turbine", "harbour", "Oslo", "repair", "contract", "invoice", "river", "engine")
SETTINGS = {"shared_preload_libraries": "pg_stat_statements", "shared_buffers": "256MB"}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one server."""

    statements: int
    seconds: float

    def __sub__(self, before: "Cost") -> "Cost":
        return Cost(self.statements - before.statements, self.seconds - before.seconds)


def cost(node: Node) -> Cost:
    """So far: statements of the site's role, and processor time of all its processes."""
    ((statements,),) = node.query(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid "
        "WHERE rolname = 'ragsite'"
    )
    assert node.process
    own = _ticks(node.process.pid, 11, 15)
    return Cost(statements, (own + sum(_ticks(child, 11, 13) for child in children(node.process.pid))) / TICKS)


def _ticks(pid: int, first: int, end: int) -> int:
    """utime, stime and those of children that have ended, of /proc/PID/stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return sum(map(int, fields[first:end]))


class Bench:
    """A primary, a replica, and visits to sites on them."""

    def __init__(self, folder: Path, visits: int) -> None:
        self.folder, self.visits = folder, visits
        self.primary = Node.initialised(folder / "primary", free_port()).start(**SETTINGS)
        self.primary.query("CREATE EXTENSION pg_stat_statements")
        self.replica = self.primary.replica(folder / "replica", free_port()).start(**SETTINGS)

    def run(self) -> None:
        print("| visits | | primary: statements, CPU s | replica: statements, CPU s |", "|---|---|---|---|", sep="\n")
        for number, urls in enumerate(("", self.replica.url)):
            site = self._site(number, urls)
            try:
                site.wait_until_ready()
                self._measure(site, "with a replica" if urls else "primary alone", seed=number == 0)
            finally:
                site.end()

    def _site(self, number: int, urls: str) -> Instance:
        data = self.folder / f"site{number}"
        data.mkdir()
        if (made := PROJECT_DIR / "var" / "models").is_dir():
            (data / "models").symlink_to(made)
        return Instance(data, DATABASE_URL=address(self.primary), DATABASE_REPLICA_URLS=urls, RAGSITE_THROTTLE="off")

    def _measure(self, site: Instance, label: str, seed: bool) -> None:
        rows = [part for name, count in ROWS.items() for part in (f"--{name}", str(count))]
        made = site.manage("seed", "--owners", str(ACCOUNTS), *rows, "--tokens", str(ACCOUNTS))
        assert made.returncode == 0, made.stderr
        tokens = [entry["token"] for entry in json.loads(made.stdout)]
        self.primary.query("VACUUM ANALYZE") if seed else None
        assert until(lambda: self.replica.has_caught_up_with(self.primary))
        for kind in ("once", "again"):
            visits = list(Visits(site, tokens, random.Random(7)).planned(kind, self.visits))
            before = cost(self.primary), cost(self.replica)
            with ThreadPoolExecutor(THREADS) as threads:
                failed = [status for status in threads.map(visit, visits) if status >= 400]
            primary, replica = cost(self.primary) - before[0], cost(self.replica) - before[1]
            assert not failed, failed[:5]
            print(
                f"| {len(visits):,} {kind} | {label} | {primary.statements:,}, {primary.seconds:.1f} "
                f"| {replica.statements:,}, {replica.seconds:.1f} |", flush=True,
            )  # fmt: skip


class Visits:
    """Addresses of the seeded rows, by account."""

    def __init__(self, site: Instance, tokens: list[str], choose: random.Random) -> None:
        self.choose = choose
        self.clients = [
            httpx.Client(
                base_url=f"http://127.0.0.1:{site.port}/api/v1/",
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            )
            for token in tokens
        ]
        self.ids = [
            {kind: self._ids(client, kind) for kind in ("documents", "conversations")} for client in self.clients
        ]

    def _ids(self, client: httpx.Client, kind: str) -> list[str]:
        return [row["id"] for row in client.get(kind, params={"page_size": 100}).json()["results"]]

    def planned(self, kind: str, count: int) -> Iterator[tuple[httpx.Client, str, str, dict[str, Any]]]:
        for number in range(count):
            account = self.choose.randrange(len(self.clients) if kind == "once" else 3)
            client, ids = self.clients[account], self.ids[account]
            if self.choose.random() < WRITES:
                yield client, "PATCH", f"conversations/{ids['conversations'][0]}", {"json": {"title": f"Talk {number}"}}
            else:
                yield client, *self._read(ids, number if kind == "once" else self.choose.randrange(10))

    def _read(self, ids: dict[str, list[str]], number: int) -> tuple[str, str, dict[str, Any]]:
        document = ids["documents"][number % len(ids["documents"])]
        conversation = ids["conversations"][number % len(ids["conversations"])]
        query = f"{self.choose.choice(WORDS)} {number}"
        return self.choose.choice([
            ("GET", f"documents/{document}", {"params": {"x": number}}),
            ("GET", f"documents/{document}/chunks", {"params": {"x": number}}),
            ("GET", f"conversations/{conversation}", {"params": {"x": number}}),
            ("GET", "conversations", {"params": {"x": number}}),
            ("GET", "documents", {"params": {"x": number}}),
            ("POST", "search", {"json": {"query": query}}),
        ])  # fmt: skip


def visit(planned: tuple[httpx.Client, str, str, dict[str, Any]]) -> int:
    client, method, url, given = planned
    return client.request(method, url, **given).status_code


def main() -> None:
    """The command: prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.replicas")
    parser.add_argument("--visits", type=int, default=3000)
    visits = parser.parse_args().visits
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    with TemporaryDirectory(prefix="ragsite-") as folder:
        bench = Bench(Path(folder), visits)
        try:
            bench.run()
        finally:
            bench.replica.stop()
            bench.primary.stop()


if __name__ == "__main__":
    main()
