"""Processor time and memory of a process with all that it has started, by their parts."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of those below it, and of those below that have ended."""
    total = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_of_all() -> dict[int, tuple[int, float]]:
    """The parent of every process, and its processor time with that of its children that have ended: one cheap look."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        found[int(path.parent.name)] = (int(words[1]), sum(map(int, words[11:15])) / TICKS)
    return found


def cpu_below(pid: int, processes: dict[int, tuple[int, float]]) -> float:
    """``cpu_seconds`` out of what ``cpu_of_all`` has seen."""
    below = defaultdict(list)
    for child, (parent, _) in processes.items():
        below[parent].append(child)
    total, border = 0.0, [pid] if pid in processes else []
    while border:
        current = border.pop()
        total += processes[current][1]
        border += below[current]
    return total


def memory_bytes(pid: int) -> int:
    """Proportional set size of the whole tree: memory that processes share is counted once."""
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass
class Usage:
    """What was used between two moments."""

    cpu: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0

    @property
    def cpu_total(self) -> float:
        return sum(self.cpu.values())


@contextmanager
def measured(parts: Callable[[], dict[str, int]], root: int):  # type: ignore[no-untyped-def]
    """Fill a Usage: processor time of each part (name → pid) and the tree's highest memory."""
    usage, over = Usage(), threading.Event()
    before = {name: cpu_seconds(pid) for name, pid in parts().items()}
    watcher = threading.Thread(target=_watch, args=(root, usage, over))
    watcher.start()
    try:
        yield usage
    finally:
        over.set()
        watcher.join()
        usage.cpu = {name: cpu_seconds(pid) - before.get(name, 0) for name, pid in parts().items()}


def _watch(root: int, usage: Usage, over: threading.Event) -> None:
    while not over.wait(SAMPLE_SECONDS):
        usage.peak_bytes = max(usage.peak_bytes, memory_bytes(root))
