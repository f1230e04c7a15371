"""Old measurements get coarser and then go: the table stays at some thousand rows however long the site runs."""

from collections import defaultdict
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ragsite.service_level.history import floor
from ragsite.service_level.models import Rollup, write
from ragsite.service_level.sketch import Sketch

KEPT = timedelta(days=90)
COARSER = ((60, 300, timedelta(hours=2)), (300, 3600, timedelta(days=2)))
"""From steps of so many seconds to longer ones, after a time; the time is one of whole longer steps."""
ALL = 0
"""The source of rows in which the processes are added up."""


def thin(now: datetime | None = None) -> int:
    """Make one pass; returns how many rows it made fewer."""
    now = now or timezone.now()
    gone, _ = Rollup.objects.filter(start__lt=now - KEPT).delete()
    return gone + sum(_coarsen(fine, coarse, now - age) for fine, coarse, age in COARSER)


@transaction.atomic
def _coarsen(fine: int, coarse: int, before: datetime) -> int:
    """Add up the fine rows of each longer step that is over, with what was added up of it before."""
    step = timedelta(seconds=coarse)
    limit = floor(before, step)
    old = list(Rollup.objects.select_for_update().filter(step=fine, start__lt=limit))
    if not old:
        return 0
    sums: dict[tuple[datetime, str, str], Sketch] = defaultdict(Sketch)
    earlier = Rollup.objects.select_for_update().filter(step=coarse, start__gte=floor(_earliest(old), step))
    for rollup in (*old, *earlier.filter(start__lt=limit)):
        sums[floor(rollup.start, step), rollup.indicator, rollup.subject].merge(rollup.sketch)
    write([Rollup.of(start, coarse, ALL, (indicator, subject), s) for (start, indicator, subject), s in sums.items()])
    Rollup.objects.filter(id__in=[rollup.pk for rollup in old]).delete()
    return len(old)


def _earliest(rollups: list[Rollup]) -> datetime:
    return min(rollup.start for rollup in rollups)
