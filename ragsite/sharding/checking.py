"""What is wrong with a distributed site, in sentences for its administrator."""

from collections.abc import Iterator

from django.db import connection

from ragsite.sharding import catalog, plan
from ragsite.sharding.tables import LOCAL, OWNERS, USERS, distributed_tables

APART = """
SELECT logicalrelid::regclass::text FROM pg_dist_partition
WHERE logicalrelid::regclass::text = ANY (%(tables)s) AND (column_to_column_name(logicalrelid, partkey) <> 'owner_id'
  OR colocationid <> (SELECT colocationid FROM pg_dist_partition WHERE logicalrelid = %(first)s::regclass))
"""
DEAD = """
SELECT DISTINCT to_nodename || ':' || to_nodeport FROM citus_check_cluster_node_health()
WHERE NOT coalesce(result, false)
"""
UNKNOWN = f"""
SELECT count(*) FROM {USERS} u FULL JOIN {OWNERS} o ON o.id = u.id WHERE u.id IS NULL OR o.id IS NULL
"""  # noqa: S608


def faults() -> list[str]:
    """None when all tables are where they belong and all nodes answer."""
    if not catalog.has_citus():
        return ["This server has no Citus."]
    return list(_faults())


def _faults() -> Iterator[str]:
    known, tables = catalog.distributed(), distributed_tables()
    for table in tables:
        if known.get(table) != "h":
            yield f"{table} is not distributed: run `manage.py shard`."
    for table in LOCAL:
        if known.get(table) == "h":
            yield f"{table} is distributed and should not be: {LOCAL[table]}."
    if statements := plan.statements():
        yield f"{len(statements)} statements are missing: `manage.py shard --dry-run` prints them."
        return
    if left := plan.emptying():
        yield f"{len(left)} tables have rows on the coordinator that no deletion reaches: run `manage.py shard`."
    with connection.cursor() as cursor:
        cursor.execute(APART, {"tables": tables, "first": tables[0]})
        for (table,) in cursor.fetchall():
            yield f"{table} is not distributed by owner_id beside the others."
        cursor.execute(DEAD)
        for (node,) in cursor.fetchall():
            yield f"The node {node} cannot be reached."
        cursor.execute(UNKNOWN)
        if count := cursor.fetchone()[0]:
            yield f"{count} users are unknown to the shards, or gone: {OWNERS} and {USERS} differ."
