"""0007: the retrieval traces become a table partitioned by the week of their message, rows and all.

No row is copied: the table as it was becomes the partition of all that came before the next Monday. What takes time
(the index of the new key, the check that all ids are of the past) is done before, while the site goes on; then names are
exchanged in one short transaction.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ragsite.partitioning.timed import WEEK, first_id, week_of

TABLE = "chat_retrievaltrace"
KEYS = """
SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'
"""
LOCK = "SET LOCAL lock_timeout = '10s'"


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [TABLE])
        if not cursor.fetchone()[0]:
            end = week_of(timezone.now() + timedelta(days=1)) + WEEK
            strangers = prepare(cursor, first_id(end))
            try:
                with transaction.atomic(using=schema_editor.connection.alias):
                    turn(cursor, f"{TABLE}_before_{end:%Y%m%d}", first_id(end), strangers)
            except BaseException:  # else no trace of a later week could be written
                briefly(cursor, f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {TABLE}_past_check")
                raise
            for number in range(3):
                make_week(cursor, end + number * WEEK)


def prepare(cursor, limit):
    """What may take time. Returns whether some ids are beyond the limit, which no id that the site made is."""
    cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {TABLE}_owner_pkey")
    cursor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {TABLE}_owner_pkey ON {TABLE} (owner_id, message_id)")
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {TABLE} WHERE message_id >= %s)", [limit])
    strangers = cursor.fetchone()[0]
    if not strangers:
        briefly(
            cursor,
            f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {TABLE}_past_check",
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_past_check CHECK (message_id < '{limit}') NOT VALID",
        )
        cursor.execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {TABLE}_past_check")
    return strangers


def briefly(cursor, *statements):
    with transaction.atomic(using=cursor.db.alias):
        for statement in (LOCK, *statements):
            cursor.execute(statement)


def turn(cursor, past, limit, strangers):
    cursor.execute(LOCK)
    # All at once, before anything is held: who meets a writer crosswise gives way and is tried again (manage.py migrate).
    cursor.execute(f"LOCK TABLE accounts_user, chat_message, {TABLE} IN ACCESS EXCLUSIVE MODE")
    keys = foreign_keys(cursor)
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey")
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_owner_pkey PRIMARY KEY USING INDEX {TABLE}_owner_pkey")
    cursor.execute("DROP INDEX retrievaltrace_message_idx")
    cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {past}")
    cursor.execute(
        f"CREATE TABLE {TABLE} (LIKE {past} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION) "
        "PARTITION BY RANGE (message_id)"
    )
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (owner_id, message_id)")
    add_foreign_keys(cursor, keys)
    cursor.execute(f"CREATE TABLE {TABLE}_default PARTITION OF {TABLE} DEFAULT")
    if strangers:
        cursor.execute(
            f"WITH gone AS (DELETE FROM {past} WHERE message_id >= %s RETURNING *) "
            f"INSERT INTO {TABLE}_default SELECT * FROM gone", [limit]
        )
    cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {past} FOR VALUES FROM (MINVALUE) TO ('{limit}')")
    cursor.execute(f"ALTER TABLE {past} DROP CONSTRAINT IF EXISTS {TABLE}_past_check")


def make_week(cursor, week):
    """The hourly upkeep makes those that come after."""
    limits = f"FROM ('{first_id(week)}') TO ('{first_id(week + WEEK)}')"
    briefly(cursor, f"CREATE TABLE IF NOT EXISTS {TABLE}_w{week:%Y%m%d} PARTITION OF {TABLE} FOR VALUES {limits}")


def backwards(apps, schema_editor):
    """One table again, by copying."""
    with transaction.atomic(using=schema_editor.connection.alias), schema_editor.connection.cursor() as cursor:
        cursor.execute(LOCK)
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        keys = foreign_keys(cursor)
        cursor.execute(f"CREATE TABLE {TABLE}_plain (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING STORAGE)")
        cursor.execute(f"INSERT INTO {TABLE}_plain SELECT * FROM {TABLE}")
        cursor.execute(f"DROP TABLE {TABLE}")
        cursor.execute(f"ALTER TABLE {TABLE}_plain RENAME TO {TABLE}")
        cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (message_id)")
        cursor.execute(f"CREATE INDEX retrievaltrace_message_idx ON {TABLE} (owner_id, message_id)")
        add_foreign_keys(cursor, keys)


def foreign_keys(cursor):
    cursor.execute(KEYS, [TABLE])
    return cursor.fetchall()


def add_foreign_keys(cursor, keys):
    for name, definition in keys:
        cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {name} {definition}")
