"""Whether this database is a distributed one, asked once in the life of a process."""

from functools import cache

from django.db import OperationalError, connection

from ragsite.sharding.tables import LINE


def is_sharded() -> bool:
    """Asked of the database and not of a setting, so that no process can be told otherwise than the tables are.

    Processes that run while `manage.py shard` does its work are to be started anew (docs/sharding.md).
    """
    return _has_line(str(connection.settings_dict["NAME"]))


@cache
def _has_line(_database: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [LINE])
        return bool(cursor.fetchone()[0])


def is_shard_away(error: BaseException) -> bool:
    """Whether the coordinator has answered, and tells that the node with the owner's shard does not."""
    return isinstance(error, OperationalError) and "remote node" in str(error)
