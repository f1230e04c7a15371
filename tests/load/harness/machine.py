"""How fast and how quiet the machine is."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPS = 3_000_000
FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Calibration:
    """Seconds that a fixed loop took: of processor time, and by the clock."""

    cpu: float
    wall: float

    @property
    def waited(self) -> float:
        """The share of the time in which another process had the core."""
        return max(0.0, 1 - self.cpu / self.wall)


def calibrate(loops: int = LOOPS) -> Calibration:
    cpu, wall = time.process_time(), time.perf_counter()
    total = 0
    for number in range(loops):
        total += number & 7
    return Calibration(time.process_time() - cpu, time.perf_counter() - wall)


def processor_seconds() -> dict[str, float]:
    """What the machine's cores have done since it was started, by kind."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return {name: int(ticks) / TICKS for name, ticks in zip(FIELDS, words, strict=False)}


def busy(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Seconds of work, idleness and theft (by other guests of the host) between two looks."""
    spent = {name: after[name] - before[name] for name in FIELDS}
    work = sum(spent[name] for name in ("user", "nice", "system", "irq", "softirq"))
    return {"work": work, "idle": spent["idle"], "iowait": spent["iowait"], "steal": spent["steal"]}


def description() -> dict[str, Any]:
    """What a reader has to know of the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory / 1e9, 1)}
