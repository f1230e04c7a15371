"""What each cache is worth: how often its values are found, how long a read takes with and without it, what it takes.

    make bench-cache                    100,000 conversations, messages, documents and chunks of 100 accounts
    make bench-cache SIZE=1000000       a million of each; seeding goes on where it was stopped

Seeds a site of its own in a folder that stays (--folder) and replays visits in this process, always the same ones: few
accounts come often (Zipf), to what they have used lately, in bursts of reads with a write now and then. Each read is
made with the caches and without them, in turn, so that other work on the machine slows both alike; once before, so that
neither of them alone reads pages that the database has not in its memory yet. Writes change names of documents and
titles of conversations; questions come from a short list, as a team's people ask alike.

A value that was found and one that was not are told apart, each beside the same read without the cache: what a miss
costs beyond that, over what a hit saves and a miss costs together, is the share of hits from which a keyspace pays.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragsite.embedded.services import services_for
from tests.load.queries import _borrow_models

VISITS = 400
QUESTIONS = 40
SHOWN_EVERY = 50
ACCOUNTS = 100
BURST = (1, 6)
"""Reads of one visit, at least and at most."""
WRITES = 0.08
"""Of the visits, how many change what they read."""
SKEW = 1.1
USED = 20
"""Conversations and documents of an account that are visited."""
ASKED = ("Which turbine runs in Oslo?", "What did the harbour cost?", "Who signed it?", "When was it repaired?")
LEVEL_READS = 2000
HTTP_READS = 100
ROWS = ('"chat_', " chat_", '"documents_', " documents_")
"""Tables that values are made of, as they stand in statements."""


def main() -> None:
    """The command: prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.caching")
    parser.add_argument("size", type=int, nargs="?", default=100_000, help="rows of each kind")
    parser.add_argument("--visits", type=int, default=VISITS)
    parser.add_argument("--folder", type=Path, help="the site's data folder, kept")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.gettempdir()) / "ragsite-bench-cache"
    os.environ |= {
        "RAGSITE_DATA_DIR": str(folder), "RAGSITE_DOTENV": os.devnull, "RAGSITE_THROTTLE": "off",
        "RAGSITE_DEBUG": "true", "DJANGO_SETTINGS_MODULE": "ragsite.settings",
    }  # fmt: skip
    _borrow_models(folder)
    with services_for("ask"):
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.ALLOWED_HOSTS, settings.DEBUG = ["*"], False
        call_command("migrate", verbosity=0)
        rows = dict.fromkeys(("documents", "chunks", "conversations", "messages"), given.size)
        call_command("seed", owners=ACCOUNTS, **rows, verbosity=0)
        Bench(random.Random(1)).run(given.visits)


class Bench:
    """The visits, and what was measured."""

    def __init__(self, choose: random.Random) -> None:
        from ragsite.accounts.models import User

        self.choose = choose
        self.accounts = list(User.objects.filter(username__startswith="seed-").order_by("pk"))
        self.clients: dict[int, tuple[Any, Any]] = {}
        self.taken: dict[tuple[str, bool], list[float]] = defaultdict(list)
        self.statements: dict[tuple[str, bool], list[int]] = defaultdict(list)
        self.by_outcome: dict[tuple[str, bool], list[float]] = defaultdict(list)
        """Milliseconds with the cache: of what was found, and of what was not."""
        self.longer: dict[tuple[str, bool], list[float]] = defaultdict(list)
        """How much longer that took than the same read without the cache."""

    def run(self, visits: int) -> None:
        from ragsite.caching import counters

        protocol_flush()
        counters.reset()
        print(f"load average {os.getloadavg()[0]:.1f}; {visits} visits, {QUESTIONS} questions", file=sys.stderr)
        for number in range(visits):
            self._visit()
            if (number + 1) % SHOWN_EVERY == 0:
                print(f"{number + 1} of {visits} visits", file=sys.stderr)
        for _ in range(QUESTIONS):
            self._ask()
        self._print()
        self.print_http()
        _print_levels()

    def _visit(self) -> None:
        account = self._zipf(self.accounts)
        api, browser = self._clients(account)
        kind = self.choose.choice(["conversation", "conversation", "document", "library"])
        address, reads = getattr(self, f"_{kind}")(account)
        if self.choose.random() < WRITES and address:
            name = {"conversation": "title", "document": "filename"}[kind] if kind != "library" else ""
            if name:
                api.patch(address, {name: f"{kind} {self.choose.random()}"})
        for _ in range(self.choose.randint(*BURST)):
            keyspace, way, url = self.choose.choice(reads)
            self._both(keyspace, lambda: (api if way == "api" else browser).get(url))  # noqa: B023

    def _conversation(self, account: Any) -> tuple[str, list[tuple[str, str, str]]]:
        from chat.models import Conversation

        found = self._zipf(list(Conversation.objects.for_user(account).newest_first()[:USED]))
        one = f"/api/v1/conversations/{found.id}"
        return one, [
            ("conversation-detail", "api", one),
            ("conversation-list", "api", "/api/v1/conversations"),
            ("conversation-page", "browser", f"/chat/{found.id}/"),
        ]

    def _document(self, account: Any) -> tuple[str, list[tuple[str, str, str]]]:
        from documents.models import Document

        found = self._zipf(list(Document.objects.for_user(account).order_by("-uploaded_at", "-id")[:USED]))
        one = f"/api/v1/documents/{found.id}"
        return one, [
            ("document-detail", "api", one),
            ("document-text", "api", f"{one}/chunks"),
            ("document-page", "browser", f"/library/{found.id}/"),
        ]

    def _library(self, account: Any) -> tuple[str, list[tuple[str, str, str]]]:
        return "", [
            ("document-list", "api", "/api/v1/documents"),
            ("collection-list", "api", "/api/v1/collections"),
            ("library-page", "browser", "/library/"),
        ]

    def _ask(self) -> None:
        """A search and a question, by one of the accounts that come often."""
        account, text = self._zipf(self.accounts[:10]), self._zipf(list(ASKED))
        api, _ = self._clients(account)
        self._both("retrieval", lambda: api.post("/api/v1/search", {"query": text}))
        self._both("answers", lambda: _answer(api, text))

    def _zipf(self, rows: Sequence[Any]) -> Any:
        return self.choose.choices(rows, [1 / (place + 1) ** SKEW for place in range(len(rows))])[0]

    def _clients(self, account: Any) -> tuple[Any, Any]:
        from django.test import Client
        from rest_framework.test import APIClient

        from ragsite.accounts.models import ApiToken

        if account.pk not in self.clients:
            _, token = ApiToken.issue(owner=account, name="bench")
            api, browser = APIClient(), Client()
            api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
            browser.force_login(account, "django.contrib.auth.backends.ModelBackend")
            self.clients[account.pk] = api, browser
        return self.clients[account.pk]

    def _both(self, keyspace: str, ask: Callable[[], Any]) -> None:
        if keyspace != "answers":  # those would begin conversations
            with caches(False):
                ask()
        ways = [True, False]
        self.choose.shuffle(ways)
        for cached in ways:
            with caches(cached), counted() as statements:
                started = time.perf_counter()
                response = ask()
                self.taken[keyspace, cached].append(1000 * (time.perf_counter() - started))
            assert response.status_code in {200, 201}, response.content[:300]
            self.statements[keyspace, cached].append(len(statements))
            if cached:
                found = not any(name in sql for sql in statements for name in ROWS)
        with_it, without = (self.taken[keyspace, cached][-1] for cached in (True, False))
        self.by_outcome[keyspace, found].append(with_it)
        self.longer[keyspace, found].append(with_it - without)

    def _print(self) -> None:
        from ragsite.caching import counters
        from ragsite.caching import statistics as counted_so_far

        seen, memory = counted_so_far(), counters.memory()
        print("| keyspace | reads | found | ms without: p50, p95 | ms with | ms found, missed: p50 | pays from | "
              "statements without, with | values, MB |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
        for name in sorted({keyspace for keyspace, _ in self.taken}):
            without, with_cache = (quantiles(self.taken[name, cached]) for cached in (False, True))
            queries = [f"{statistics.mean(self.statements[name, cached]):.1f}" for cached in (False, True)]
            found = f"{100 * seen[name].hit_rate:.0f} %"
            kept = f"{memory[name].values}, {memory[name].bytes / 1e6:.2f}"
            cells = (
                name,
                len(self.taken[name, True]),
                found,
                without,
                with_cache,
                *self._worth(name),
                ", ".join(queries),
                kept,
            )
            print(f"| {' | '.join(map(str, cells))} |")
        vectors = seen["query-vectors"]
        print(f"query-vectors: found {100 * vectors.hit_rate:.0f} % of {vectors.reads}, read in "
              f"{1000 * vectors.mean_hit_seconds:.2f} ms, computed in {1000 * vectors.mean_compute_seconds:.2f} ms, "
              f"{memory['query-vectors'].bytes / 1e6:.2f} MB")  # fmt: skip

    def _worth(self, name: str) -> tuple[str, str]:
        """Milliseconds of a hit and of a miss, and the share of hits from which the cache saves time."""
        outcomes = (True, False)
        shown = ", ".join(_median(self.by_outcome[name, found]) for found in outcomes)
        if not all(self.longer[name, found] for found in outcomes):
            return shown, "–"
        saved, extra = -statistics.median(self.longer[name, True]), statistics.median(self.longer[name, False])
        return shown, "never" if saved <= 0 else f"{max(0.0, extra) / (max(0.0, extra) + saved):.0%}"

    def print_http(self) -> None:
        """One list, read again and again: computed, from Valkey, and by who has it already."""
        account = self.accounts[0]
        api, _ = self._clients(account)
        etag = api.get("/api/v1/conversations")["ETag"]
        ways = {"computed": (False, {}), "Valkey": (True, {}), "304": (True, {"HTTP_IF_NONE_MATCH": etag})}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(HTTP_READS):
            for name, (cached, headers) in ways.items():
                with caches(cached):
                    started = time.perf_counter()
                    response = api.get("/api/v1/conversations", **headers)
                    taken[name].append(1000 * (time.perf_counter() - started))
                assert response.status_code == (304 if name == "304" else 200)
        for name, milliseconds in taken.items():
            print(f"a list of conversations, {name}: p50, p95 {quantiles(milliseconds)} ms")


def _answer(api: Any, text: str) -> Any:
    begun = api.post("/api/v1/conversations", {}).json()["id"]
    return api.post(f"/api/v1/conversations/{begun}/messages", {"content": text})


def _median(taken: list[float]) -> str:
    return f"{statistics.median(taken):.1f}" if taken else "–"


def quantiles(taken: list[float]) -> str:
    ordered = sorted(taken)
    return f"{statistics.median(ordered):.1f}, {ordered[int(0.95 * (len(ordered) - 1))]:.1f}"


@contextmanager
def caches(on: bool) -> Iterator[None]:
    from django.conf import settings

    settings.CACHES_OFF = set() if on else {"all"}
    yield
    settings.CACHES_OFF = set()


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements of this thread."""
    from django.db import connection

    found: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        found.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield found


def protocol_flush() -> None:
    """Forget what an earlier run has kept."""
    from ragsite.caching import protocol

    if names := list(protocol.redis().scan_iter(match=protocol.key("*"), count=1000)):
        protocol.redis().delete(*names)


def _print_levels() -> None:
    """A read of a vector from Valkey, and what it would be from this process."""
    import numpy as np

    from documents.caching import QUERY_VECTORS
    from ragsite.caching import get, put

    key = {"owner": 1, "model": "bench", "text": "bench"}
    put(QUERY_VECTORS, np.ones(384, np.float32), **key)
    here = {tuple(key.values()): np.ones(384, np.float32)}
    ways = {"Valkey": lambda: get(QUERY_VECTORS, **key), "the process": lambda: here[tuple(key.values())]}
    for name, read in ways.items():
        taken = []
        for _ in range(LEVEL_READS):
            started = time.perf_counter()
            read()
            taken.append(1000 * (time.perf_counter() - started))
        print(f"a vector from {name}: p50, p95 {quantiles(taken)} ms ({1000 * statistics.median(taken):.1f} µs)")


if __name__ == "__main__":
    main()
