"""What is not counted but looked up at each scrape: the machine, the servers, and what the apps add."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from django.conf import settings
from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ragsite.caching import statistics
from ragsite.heartbeat import alive_key, quick_redis
from ragsite.routes import QUEUES, serving

logger = logging.getLogger(__name__)

Look = Callable[[], Iterable[Metric]]
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_KILOBYTE = 1024

DEADLINE_SECONDS = 3.0
"""Of a scrape: what is not there by then is told as failed. The counts must be had when the database hangs, too."""

_looks: dict[str, Look] = {}
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gauges")


def add(name: str, look: Look) -> None:
    """Have this asked at each scrape. What it raises costs its own metrics alone."""
    _looks[name] = look


class Gauges(Collector):
    """All of them, and which could not be had."""

    def collect(self) -> Iterator[Metric]:
        failed = GaugeMetricFamily(
            "ragsite_scrape_failed", "Whether a part of the metrics could not be had.", labels=["part"]
        )
        ends = time.monotonic() + DEADLINE_SECONDS
        running = {name: _threads.submit(_looked, look) for name, look in _looks.items()}
        for name, future in running.items():
            found = _had(name, future, ends)
            failed.add_metric([name], float(found is None))
            yield from found or []
        yield failed


def _looked(look: Look) -> list[Metric]:
    try:
        return list(look())
    finally:
        connection.close()


def _had(name: str, future: "Future[list[Metric]]", ends: float) -> list[Metric] | None:
    try:
        return future.result(timeout=max(0.0, ends - time.monotonic()))
    except Exception as error:
        future.cancel()
        logger.warning("no metrics of %s: %s", name, type(error).__name__)
        return None


def gauge(name: str, words: str, values: dict[str, float] | float, label: str = "") -> Metric:
    """A metric of one value, or of one for each value of a label."""
    if not isinstance(values, dict):
        return GaugeMetricFamily(name, words, value=values)
    family = GaugeMetricFamily(name, words, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family


def machine() -> Iterator[Metric]:
    cpu = CounterMetricFamily("ragsite_host_cpu_seconds", "The machine's processors by mode.", labels=["mode"])
    with open("/proc/stat") as file:
        ticks = file.readline().split()[1:]
    for mode, count in zip(_CPU_MODES, ticks, strict=False):
        cpu.add_metric([mode], int(count) / os.sysconf("SC_CLK_TCK"))
    yield cpu
    yield gauge("ragsite_host_load1", "The machine's load.", os.getloadavg()[0])
    with open("/proc/meminfo") as file:
        memory = {line.split(":")[0]: float(line.split()[1]) * _KILOBYTE for line in file}
    kinds = {"total": memory["MemTotal"], "available": memory["MemAvailable"]}
    yield gauge("ragsite_host_memory_bytes", "The machine's memory.", kinds, "kind")


def disk() -> Iterator[Metric]:
    state = os.statvfs(settings.LAYOUT.data_dir)
    sizes = {"total": float(state.f_blocks * state.f_frsize), "free": float(state.f_bavail * state.f_frsize)}
    yield gauge("ragsite_disk_bytes", "The disk that the data folder is on.", sizes, "kind")


def database() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "GROUP BY 1 UNION ALL SELECT 'limit', current_setting('max_connections')::int"
        )
        found = {str(state): float(count) for state, count in cursor.fetchall()}
    yield gauge("ragsite_database_connections", "Connections to the database by state.", found, "state")


def valkey() -> Iterator[Metric]:
    with quick_redis() as redis:
        alive = {queue: float(bool(redis.exists(*map(alive_key, serving(queue))))) for queue in QUEUES}
        used = float(redis.info("memory")["used_memory"])
    yield gauge("ragsite_workers_alive", "Whether a worker of the queue was heard of in 30 seconds.", alive, "queue")
    yield gauge("ragsite_cache_memory_bytes", "Memory of the cache's server.", used)


def keyspaces() -> Iterator[Metric]:
    lookups = CounterMetricFamily("ragsite_cache_lookups", "Lookups by keyspace.", labels=["keyspace", "result"])
    seconds = CounterMetricFamily("ragsite_cache_seconds", "Of hits, and of computing.", labels=["keyspace", "kind"])
    for name, counted in statistics().items():
        for result in ("hits", "misses", "passed_by", "refused", "failed"):
            lookups.add_metric([name, result], getattr(counted, result))
        seconds.add_metric([name, "hit"], counted.hit_seconds)
        seconds.add_metric([name, "compute"], counted.compute_seconds)
    yield lookups
    yield seconds


add("machine", machine)
add("disk", disk)
add("database", database)
add("cache", valkey)
add("keyspaces", keyspaces)
