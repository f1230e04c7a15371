"""What is measured of a site before any load: starting again, memory at rest, retrieval."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from tests.instance import Instance
from tests.load.harness.arithmetic import Distribution, distribution
from tests.load.harness.watching import memory_of

REST_SECONDS = 5
WARM_UP = 20
SEARCHES = 200


@dataclass(frozen=True)
class Probes:
    """Seconds and bytes."""

    second_start: float
    idle_memory: dict[str, int]
    retrieval: Distribution


def probe(site: Instance, second_start: float, token: str, questions: Sequence[str]) -> Probes:
    time.sleep(REST_SECONDS)
    memory = memory_of(site)
    return Probes(second_start, memory, _searches(f"http://127.0.0.1:{site.port}", token, questions))


def _searches(url: str, token: str, questions: Sequence[str]) -> Distribution:
    """One user, one search after the other, no question twice: whole HTTP requests."""
    seconds = []
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
    ) as client:
        for question in questions[: WARM_UP + SEARCHES]:
            started = time.perf_counter()
            client.post("/api/v1/search", json={"query": question, "limit": 10}).raise_for_status()
            seconds.append(time.perf_counter() - started)
    found = distribution(seconds[WARM_UP:])
    assert found
    return found
