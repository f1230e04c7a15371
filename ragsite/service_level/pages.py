"""The administration's page of the service level."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ragsite.caching import statistics
from ragsite.caching.counters import Statistics
from ragsite.service_level.chart import chart_of
from ragsite.service_level.history import WINDOWS, History
from ragsite.service_level.panels import panels
from ragsite.service_level.slow import tables
from ragsite.service_level.targets import Statistic
from ragsite.service_level.verdicts import MISSED, Verdict, budget_told, seconds_told, told, verdicts


@require_safe
def service_level(request: HttpRequest) -> HttpResponse:
    """Each target, its chart, what is queued and what is slow. For staff: `admin_view` sees to that."""
    window = WINDOWS.get(request.GET.get("window", ""), WINDOWS["hour"])
    history = History(window.length, window.step)
    found = verdicts(history)
    context = {
        "title": "Service level",
        "window": window,
        "windows": WINDOWS.values(),
        "cards": [card(verdict, history) for verdict in found],
        "missed": [verdict.target.title for verdict in found if verdict.breaks_the_level],
        "measured": any(verdict.value is not None for verdict in found),
        "tables": tables(history),
        "keyspaces": [keyspace(counted) for counted in statistics().values() if counted.reads],
        "panels": panels(request),
    }
    return render(request, "admin/service_level/page.html", {**admin.site.each_context(request), **context})


def card(verdict: Verdict, history: History) -> dict[str, Any]:
    """A target as the template shows it."""
    left = verdict.budget_left
    return {
        "verdict": verdict,
        "state": "not yet" if verdict.target.aim and verdict.state == MISSED else verdict.state,
        "value": told(verdict.target, verdict.value),
        "limit": told(verdict.target, verdict.target.limit),
        "relation": "promised for" if verdict.target.statistic == Statistic.HELD else "below",
        "budget": budget_told(verdict),
        "bar": None if left is None else round(max(0.0, min(1.0, left)) * 100),
        "count": verdict.measured.count + verdict.measured.errors,
        "chart": chart_of(verdict, history),
    }


def keyspace(counted: Statistics) -> dict[str, Any]:
    """What a keyspace of the cache did, as the template shows it."""
    return {
        "keyspace": counted.keyspace,
        "reads": counted.reads,
        "hit_share": f"{counted.hit_rate:.0%}",
        "hit_took": seconds_told(counted.mean_hit_seconds) if counted.hits else "–",
        "compute_took": seconds_told(counted.mean_compute_seconds) if counted.reads > counted.hits else "–",
    }
