"""Kills at random, and how long it takes until all is well again."""

import json
import os
import random
import signal
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress

from ragsite.embedded.program import accepts
from ragsite.layout import Layout
from tests.instance import Instance, descendants, parents

LONGEST_RECOVERY_SECONDS = 240
"""The supervisor's pause grows to 30 s for what dies again and again, and it may be killed again while it starts."""
FROZEN_SECONDS = 12
"""Longer than a lease: another worker has taken the document when this one wakes up."""

KINDS = {
    "worker": 5,
    "worker frozen": 1,
    "web": 2,
    "web's child": 3,
    "sandbox": 2,
    "sandbox's child": 3,
    "encoder": 2,
    "valkey": 2,
    "postgres": 2,
    "postgres's child": 2,
    "upkeep": 2,
}
"""How often each is chosen. A child is one process of several: that of requests, a file, a connection."""


class Killer:
    """Kills something every few seconds; a second thread watches what comes back when."""

    def __init__(
        self, site: Instance, chance: random.Random, pause: tuple[float, float], over: threading.Event
    ) -> None:
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.site = site
        self.chance = chance
        self.pause = pause
        self.over = over
        self.killed: Counter[str] = Counter()
        self.recovered: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self._watchers: list[threading.Thread] = []

    def _go_on(self) -> None:
        while not self.over.wait(self.chance.uniform(*self.pause)):
            kind = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
            if victim := self._victim(kind):
                self._kill(kind, victim)
        for watcher in self._watchers:
            watcher.join()

    def _victim(self, kind: str) -> int:
        name, _, child = kind.partition("'s ")
        parent = self.site.pid_of(name.removesuffix(" frozen"))
        if not parent or not (child or kind.endswith("frozen")):
            return parent
        family = sorted(descendants(parent))
        return self.chance.choice(family) if family else 0

    def _kill(self, kind: str, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGSTOP if kind.endswith("frozen") else signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[kind] += 1
        print(f"{time.strftime('%H:%M:%S')}  {kind} ({pid})", flush=True)
        name = kind.partition("'s ")[0]
        if name.endswith(" frozen"):
            threading.Timer(FROZEN_SECONDS, _thaw, [pid]).start()
            return
        watcher = threading.Thread(target=self._watch, args=(kind, name, pid), daemon=True)
        watcher.start()
        self._watchers.append(watcher)

    def _watch(self, kind: str, name: str, pid: int) -> None:
        started, well = time.monotonic(), self._well(name, pid)
        while pid in parents() or not well():  # it takes a moment to die, and answers until then
            if time.monotonic() - started > LONGEST_RECOVERY_SECONDS:
                self.wrong.append(f"{kind} was not well again {LONGEST_RECOVERY_SECONDS} s after it was killed")
                return
            time.sleep(0.1)
        self.recovered[kind].append(time.monotonic() - started)

    def _well(self, name: str, killed: int) -> Callable[[], bool]:
        layout = Layout(self.site.folder)
        return {
            "web": lambda: self.site.status("/healthz") == 200,
            "postgres": lambda: "database" not in ill_parts(self.site),
            "valkey": lambda: "cache" not in ill_parts(self.site),
            "encoder": lambda: accepts(layout.encoder_socket),
            "sandbox": lambda: accepts(layout.sandbox_socket),
        }.get(name, lambda: self.site.pid_of(name) not in {0, killed})


def _thaw(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def ill_parts(site: Instance) -> set[str]:
    """The parts of the site that are not well, by its own word."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/readyz", timeout=10) as answer:
            parts = json.load(answer)["parts"]
    except urllib.error.HTTPError as error:
        parts = json.load(error)["parts"]
    except (OSError, ValueError):
        return {"web", "database", "cache"}
    return {name for name, part in parts.items() if not part["ok"]}
