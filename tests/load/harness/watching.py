"""What the processes, the database and the machine do while the load lasts, looked at from outside."""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from ragsite.layout import Layout
from tests.instance import PROCESSES, Instance
from tests.load.harness.machine import processor_seconds
from tests.load.process_tree import cpu_below, cpu_of_all, memory_bytes

EVERY = 2.0
MEMORY_EVERY = 10.0
DATABASE = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
  count(*), coalesce(extract(epoch FROM now() - min(uploaded_at)), 0)
FROM documents_document WHERE status NOT IN ('processed', 'failed')
"""
CACHE_FIGURES = ("keyspace_hits", "keyspace_misses", "used_memory", "total_commands_processed")


@dataclass
class Look:
    """One look. Processor time is cumulative: seconds since each process began; ``site`` is all of the site's."""

    at: float
    cpu: dict[str, float]
    machine: dict[str, float]
    connections: int | None = None
    queued: int | None = None
    queue_age: float | None = None
    memory: dict[str, int] | None = None


@dataclass
class Watched:
    """All looks of a run."""

    looks: list[Look] = field(default_factory=list)

    def spent(self, since: float, until: float) -> dict[str, float]:
        """Processor time of each part between two moments, by the nearest looks inside."""
        inside = self.between(since, until)
        if len(inside) < 2:
            return {}
        first, last = inside[0], inside[-1]
        return {name: last.cpu[name] - first.cpu.get(name, 0.0) for name in last.cpu}

    def between(self, since: float, until: float) -> list[Look]:
        moments = [look.at for look in self.looks]
        return self.looks[bisect_left(moments, since) : bisect_left(moments, until)]


class Watcher:
    """A thread that looks every two seconds. ``others`` are further processes by name: generator, model."""

    def __init__(self, site: Instance | None, others: Callable[[], dict[str, int]]) -> None:
        self.site, self.others = site, others
        self.watched = Watched()
        self._known: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        if self.site is None:
            self._look_until_over(None)
            return
        with closing(psycopg2.connect(Layout(self.site.folder).database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                self._look_until_over(cursor)

    def _look_until_over(self, cursor: Any) -> None:
        memory_at = 0.0
        while not self._over.is_set():
            look = Look(time.time(), self._cpu(), processor_seconds())
            if cursor is not None:
                cursor.execute(DATABASE)
                look.connections, look.queued, age = cursor.fetchone()
                look.queue_age = float(age)
            if time.monotonic() - memory_at >= MEMORY_EVERY:
                memory_at = time.monotonic()
                look.memory = memory_of(self.site) if self.site else None
            self.watched.looks.append(look)
            self._over.wait(EVERY)

    def _cpu(self) -> dict[str, float]:
        processes = cpu_of_all()
        found = {name: cpu_below(pid, processes) for name, pid in self.others().items()}
        found["harness"] = processes[os.getpid()][1]
        if self.site:
            parts = {name: cpu_below(pid, processes) for name, pid in self._parts(processes).items()}
            root = self.site.process.pid
            found |= {**parts, "site": cpu_below(root, processes), "supervisor": processes.get(root, (0, 0.0))[1]}
        return found

    def _parts(self, alive: Container[int]) -> dict[str, int]:
        """Looked for again only when one of them has gone."""
        if self.site and (len(self._known) < len(PROCESSES) or any(pid not in alive for pid in self._known.values())):
            self._known = parts_of(self.site)
        return self._known


def parts_of(site: Instance) -> dict[str, int]:
    return {name: pid for name in PROCESSES if (pid := site.pid_of(name))}


def memory_of(site: Instance) -> dict[str, int]:
    """PSS by part, in bytes, and of all: memory that processes share is counted once."""
    found = {name: memory_bytes(pid) for name, pid in parts_of(site).items()}
    found["all"] = memory_bytes(site.process.pid)
    return found


def cache_figures(site: Instance) -> dict[str, int]:
    """What Valkey tells of itself."""
    from redis import Redis

    with closing(Redis.from_url(Layout(site.folder).redis_url)) as client:
        info = client.info()
    return {name: int(info[name]) for name in CACHE_FIGURES}


def database_bytes(site: Instance) -> int:
    with closing(psycopg2.connect(Layout(site.folder).database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        found: int = cursor.fetchone()[0]
        return found


def folder_bytes(site: Instance) -> int:
    """What the data folder takes on the disk, without the model that is a link."""
    total = 0
    for path in site.folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() else path.stat().st_blocks * 512
        except OSError:
            continue
    return total


def figures_between(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}


def largest(looks: Sequence[Look], name: str) -> float | None:
    values = [getattr(look, name) for look in looks if getattr(look, name) is not None]
    return max(values, default=None)
