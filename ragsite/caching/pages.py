"""The administration's page of caches, made from the registry and the live counters."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ragsite.caching.advice import Advice, advise
from ragsite.caching.counters import Memory, Statistics, memory, statistics
from ragsite.caching.describing import duration
from ragsite.caching.protocol import RedisError, circuit
from ragsite.caching.registry import Keyspace, dependencies, keyspaces

Line = tuple[Keyspace[Any], Statistics, Memory, Advice]


def lines() -> list[Line]:
    """Each keyspace with what it did, what it takes, and what is advised."""
    try:
        taken = memory()
    except RedisError:
        taken = {}
    seen = statistics()
    spaces = [(space, seen[space.name], taken.get(space.name, Memory(0, 0))) for space in keyspaces()]
    return [(*line, advise(*line)) for line in spaces]


@require_safe
def caching_page(request: HttpRequest) -> HttpResponse:
    """Names of kinds and numbers; no value is shown."""
    rows = [
        {"space": space, "ttl": duration(space), "seen": seen, "memory": taken, "advice": advice,
         "hit_rate": 100 * seen.hit_rate, "hit_ms": 1000 * seen.mean_hit_seconds,
         "compute_ms": 1000 * seen.mean_compute_seconds}
        for space, seen, taken, advice in lines()
    ]  # fmt: skip
    context = {"title": "Caches", "rows": rows, "dependencies": dependencies(), "away": not circuit.closed}
    return render(request, "admin/caching.html", {**admin.site.each_context(request), **context})
