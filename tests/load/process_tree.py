"""Processor time and memory of a process with all that it has started, by their parts."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 0.5


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
