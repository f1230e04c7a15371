"""`manage.py check --deploy`: whether what DATABASE_REPLICA_URLS names are replicas of this database."""

from collections.abc import Iterator
from typing import Any

import psycopg2
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS

from ragsite.replicas.fleet import connect

STATE = """
SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), current_database(),
  pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
"""


@register(Tags.security, deploy=True)
def check_replicas(**kwargs: Any) -> list[CheckMessage]:
    """Asks the servers; those that do not answer are warnings, because the site goes on without them."""
    return [message for alias in settings.REPLICAS for message in _replica(alias)]


def _replica(alias: str) -> Iterator[CheckMessage]:
    try:
        is_replica, system, name, sees_timeline = _state(alias)
        _, primarys_system, primarys_name, _ = _state(DEFAULT_DB_ALIAS)
    except psycopg2.Error as error:
        text = str(error).strip().split("\n")[0]
        yield Warning(f"{alias} or the primary cannot be asked: {text}", id="ragsite.W010")
        return
    if (system, name) != (primarys_system, primarys_name):
        yield Error(
            f"{alias} is no copy of the database that DATABASE_URL names.",
            hint="Make it with pg_basebackup; see docs/replicas.md.",
            id="ragsite.E015",
        )
    elif not is_replica:
        yield Warning(f"{alias} takes writes: it is not read from.", hint="Name replicas only.", id="ragsite.W011")
    elif not sees_timeline:
        yield Warning(
            f"{alias}: after a promotion it is read from only after its next restartpoint.",
            hint="On the primary, as a superuser: GRANT pg_read_all_stats TO the site's role.",
            id="ragsite.W012",
        )


def _state(alias: str) -> tuple[Any, ...]:
    connection = connect(alias)
    try:
        with connection.cursor() as cursor:
            cursor.execute(STATE)
            row: tuple[Any, ...] = cursor.fetchone()
            return row
    finally:
        connection.close()
