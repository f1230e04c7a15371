"""django-cacheops and django-cachalot in the site itself, beside its own keyspaces: found, too old, emptied, how long.

    python -m tests.load.cache_libraries [--folder FOLDER] [--rounds 400]

The libraries are installed into a folder of their own (FOLDER/libraries) and come into a copy of the site's settings,
one process each, over the same seeded rows. Visitors read their list of conversations and one of these through the API;
one visit in ten asks a question there first. What the API shows is compared with what SQL tells at that moment.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ragsite.embedded.services import services_for
from ragsite.layout import PROJECT_DIR
from tests.load.caching import ROWS, counted, quantiles
from tests.load.queries import _borrow_models

LIBRARIES = ("django-cacheops==7.2", "django-cachalot==2.9.0", "funcy==2.1")
WAYS = ("none", "cacheops", "cachalot", "keyspaces")
SEEDED = {"owners": 50, "documents": 1000, "chunks": 2000, "conversations": 2000, "messages": 12_000}
VISITORS, TALKS = 20, 5
"""Accounts that come, and conversations of each that are opened."""
WRITES = 0.1
PAGE = 25
"""Messages that a conversation shows at once."""
TRUE = """
SELECT c.title, c.updated_at, (SELECT count(*) FROM chat_message m WHERE m.conversation_id = c.id)
FROM chat_conversation c WHERE c.id = %s
"""


def main() -> None:
    """The command: prints the table, a row for each way."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.cache_libraries")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "ragsite-bench-libraries")
    parser.add_argument("--rounds", type=int, default=400, help="visits")
    parser.add_argument("--way", choices=WAYS, help="this one alone, in this process")
    given = parser.parse_args()
    os.environ |= {
        "RAGSITE_DATA_DIR": str(given.folder), "RAGSITE_DOTENV": os.devnull, "RAGSITE_THROTTLE": "off",
        "RAGSITE_DEBUG": "true", "DJANGO_SETTINGS_MODULE": "tests.load.cache_library_settings",
    }  # fmt: skip
    if given.way:
        _measured(given.way, given.rounds)
    else:
        _each(given.folder, given.rounds)


def _each(folder: Path, rounds: int) -> None:
    _borrow_models(folder)
    _install(folder / "libraries")
    with services_for("ask"):
        _seed()
        print("| way | reads | without SQL on rows | statements a read | too old | others' reads found after one write "
              "| ms of a list p50, p95 | ms of a conversation |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
        for way in WAYS:
            environment = {
                "BENCH_LIBRARY": way, "RAGSITE_CACHES_OFF": "" if way == "keyspaces" else "all",
                "PYTHONPATH": str(folder / "libraries"),
            }  # fmt: skip
            command = [sys.executable, "-m", "tests.load.cache_libraries", "--folder", str(folder)]
            command += ["--rounds", str(rounds), "--way", way]
            done = subprocess.run(command, cwd=PROJECT_DIR, env=os.environ | environment, stdout=subprocess.PIPE)
            line = done.stdout.decode().strip().splitlines()[-1:] or ["failed |"]
            print(f"| {way} | {line[0]}", flush=True)


def _install(folder: Path) -> None:
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *LIBRARIES]
        subprocess.run(command, check=True)


def _seed() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("seed", **SEEDED, verbosity=0)


def _measured(way: str, rounds: int) -> None:
    with services_for("ask"):
        import django

        django.setup()
        from django.conf import settings
        from django.core.cache import cache

        settings.ALLOWED_HOSTS, settings.DEBUG = ["*"], False
        cache.clear()
        _forget_rows()
        visit = Visits(random.Random(5), way)
        for _ in range(rounds):
            visit.one()
        print(visit.row(visit.after_one_write()))


def _forget_rows() -> None:
    """Nothing that the way before has kept."""
    from ragsite.caching.protocol import redis

    redis().flushdb()


class Visits:
    """The visits, and what was seen."""

    def __init__(self, choose: random.Random, way: str) -> None:
        from rest_framework.test import APIClient

        from chat.models import Conversation
        from ragsite.accounts.models import ApiToken, User

        self.choose, self.way = choose, way
        self.accounts = list(User.objects.filter(username__startswith="seed-").order_by("pk")[:VISITORS])
        self.clients, self.talks = {}, {}
        for account in self.accounts:
            self.clients[account.pk] = client = APIClient()
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(owner=account, name='bench')[1]}")
            newest = Conversation.objects.for_user(account).newest_first()[:TALKS]
            self.talks[account.pk] = [str(pk) for pk in newest.values_list("id", flat=True)]
        self.taken: dict[str, list[float]] = {"list": [], "conversation": []}
        self.statements: list[int] = []
        self.old = 0

    def one(self) -> None:
        """A visit: now and then a question, then its list and a conversation."""
        account = self.choose.choices(self.accounts, [1 / place for place in range(1, VISITORS + 1)])[0]
        talk = self.choose.choice(self.talks[account.pk])
        if self.choose.random() < WRITES:
            self.write(account.pk, talk)
        self.read(account.pk, "list", "/api/v1/conversations", talk)
        self.read(account.pk, "conversation", f"/api/v1/conversations/{talk}", talk)

    def write(self, account: int, talk: str) -> None:
        content = {"content": f"Which turbine is the {self.choose.random()} one?"}
        response = self.clients[account].post(f"/api/v1/conversations/{talk}/messages", content)
        assert response.status_code == 201, response.content

    def read(self, account: int, kind: str, path: str, talk: str) -> bool:
        """Whether it ran no statement on rows."""
        true = _true(talk)
        with counted() as statements:
            started = time.perf_counter()
            response = self.clients[account].get(path)
            self.taken[kind].append(1000 * (time.perf_counter() - started))
        assert response.status_code == 200, response.content
        shown = response.json()
        rows = [shown] if kind == "conversation" else [row for row in shown["results"] if row["id"] == talk]
        self.old += any(_differs(row, true) for row in rows)
        self.statements.append(sum(any(name in sql for name in ROWS) for sql in statements))
        return self.statements[-1] == 0

    def after_one_write(self) -> float:
        """Everybody's list is read until it is kept, one account asks: the share of the others' that is found."""
        first, *others = self.accounts
        for _ in range(2):
            for account in others:
                self._list(account.pk)
        self.write(first.pk, self.talks[first.pk][0])
        return statistics.mean(self._list(account.pk) for account in others)

    def _list(self, account: int) -> bool:
        return self.read(account, "list", "/api/v1/conversations", self.talks[account][0])

    def row(self, others: float) -> str:
        none = statistics.mean(count == 0 for count in self.statements)
        cells = (
            len(self.statements), f"{none:.0%}", f"{statistics.mean(self.statements):.2f}", self.old, f"{others:.0%}",
            quantiles(self.taken["list"]), quantiles(self.taken["conversation"]),
        )  # fmt: skip
        return " | ".join(map(str, cells)) + " |"


def _true(talk: str) -> tuple[Any, ...]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(TRUE, [talk])
        found: tuple[Any, ...] = cursor.fetchone()
    return found


def _differs(row: dict[str, Any], true: tuple[Any, ...]) -> bool:
    from django.utils.dateparse import parse_datetime

    title, updated_at, messages = true
    shown = len(row["messages"]["results"]) if "messages" in row else min(messages, PAGE)
    return (row["title"], parse_datetime(row["updated_at"]), shown) != (title, updated_at, min(messages, PAGE))


if __name__ == "__main__":
    main()
