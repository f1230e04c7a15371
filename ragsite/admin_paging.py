"""Admin lists of big tables, without counting them.

Django's admin counts every row to number the pages: seconds on millions of rows. Here an unfiltered list takes the
planner's estimate, and a filtered one is counted up to a bound.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest

COUNT_AT_MOST = 10_000

ESTIMATE = """
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
FROM pg_class c
WHERE c.relkind <> 'p'
  AND (c.oid = to_regclass(%s) OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s))))
"""
"""The rows of a table, or of all partitions of one, as the last ANALYZE saw them."""
ROW_LOOKUPS = {"id", "id__exact", "owner", "owner__exact", "owner__id", "owner__id__exact"}
FILTER_SUFFIXES = ("", "__exact", "__isnull", "__isempty")
"""What Django's filters put into their links."""


class BoundedPaginator(Paginator):
    """Exact up to ``COUNT_AT_MOST`` rows; beyond, the planner's estimate if the list is unfiltered, else the bound."""

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        bounded = rows.order_by()[: COUNT_AT_MOST + 1].count()
        if bounded <= COUNT_AT_MOST:
            return bounded
        if rows.query.where:
            return COUNT_AT_MOST
        return max(bounded, estimated_rows(rows))


def estimated_rows(queryset: QuerySet[Any]) -> int:
    """How many rows the queryset's table has, roughly."""
    table = connections[queryset.db].ops.quote_name(queryset.model._meta.db_table)
    with connections[queryset.db].cursor() as cursor:
        cursor.execute(ESTIMATE, [table, table])
        return int(cursor.fetchone()[0])


class BigTableAdmin(admin.ModelAdmin):
    """For tables that may hold millions of rows: nothing is counted whole, and a page has 50 rows."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count of the whole table for each value of each filter
    list_per_page = 50
    list_max_show_all = 0

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list's own filters ask.

        Django allows every local field, and ``?quote__startswith=`` would tell letter by letter what is not shown.
        """
        return lookup in ROW_LOOKUPS or lookup in self._filter_lookups(request)

    def _filter_lookups(self, request: HttpRequest) -> set[str]:
        entries: Iterable[Any] = self.get_list_filter(request)
        names = [entry if isinstance(entry, str) else entry[0] for entry in entries]
        return {f"{name}{suffix}" for name in names for suffix in FILTER_SUFFIXES}
