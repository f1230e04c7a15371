"""The statements that turn the tables as the migrations made them into distributed ones: those that are still missing.

All is read from the database's catalog, so that a site that is half or wholly distributed gets what it lacks, and a
table that a later migration made is taken up by the next run.
"""

import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter

from django.conf import settings
from django.db import connection

from ragsite.sharding import catalog
from ragsite.sharding.catalog import ForeignKey, UniqueIndex
from ragsite.sharding.tables import LINE, OWNERS, REFERENCE, USERS, distributed_tables

FUNCTIONS = (
    "documents_tsvector(text,text)",
    "documents_chunk_tsvector(text,text,text,text[],text)",
    "chat_citation_forget()",
    "documents_languages(bigint)",
    "documents_nearest(bigint,integer,integer,uuid[],text,integer,boolean,integer)",
)
"""Called where the shards are; those that others call first."""
NESTED = FUNCTIONS[3:]
"""These read tables themselves. They run beside the owner's shard, and what they read is there too."""
NESTED_SETTING = "citus.allow_nested_distributed_execution"
SET_NULL, DEFERRED = "ON DELETE SET NULL", "DEFERRABLE INITIALLY DEFERRED"
SESSION = {
    # Statements of one transaction over one connection a node: DDL, cascades over keys to reference tables, and what
    # reads after it has written see each other.
    "citus.multi_shard_modify_mode": "sequential",
    # SET LOCAL reaches the workers (documents_nearest sets how far the index is searched).
    "citus.propagate_set_commands": "local",
    # chat_citation_forget changes the row that is written, and nothing else: it may run where the row is.
    "citus.enable_unsafe_triggers": "on",
}
TRIGGER = f"""
CREATE OR REPLACE FUNCTION sharding_owner_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {OWNERS} (id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
  ELSE
    DELETE FROM {OWNERS} WHERE id = OLD.id;
  END IF;
  RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER sharding_owner_follow AFTER INSERT OR DELETE ON {USERS} FOR EACH ROW
  EXECUTE FUNCTION sharding_owner_follow()
"""  # noqa: S608  (constants)
OWNERS_TABLE = f"CREATE TABLE IF NOT EXISTS {OWNERS} (id bigint PRIMARY KEY)"
LINE_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {LINE} (owner_id bigint PRIMARY KEY REFERENCES {USERS} (id) ON DELETE CASCADE "
    "DEFERRABLE INITIALLY DEFERRED, touched_at timestamptz NOT NULL DEFAULT now())"
)


def session_settings() -> list[str]:
    """For this transaction; the same for all that connect later is the first statement of the plan."""
    return [f"SET LOCAL {name} = '{value}'" for name, value in SESSION.items()]


def statements() -> list[str]:
    """What is still to be done, in order; to be run in one transaction."""
    return statements_for(distributed_tables())


def statements_for(tables: list[str]) -> list[str]:
    """The same, of these tables: each has a column ``owner_id``."""
    known = catalog.distributed()
    plain = _parents_first([table for table in tables if known.get(table) != "h"])
    references = [table for table in (*REFERENCE, OWNERS) if table not in known]
    keys = _keys_in_the_way(plain)
    return [
        *([*_for_all_sessions()] if plain or references else []),
        *_functions(),
        *(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in keys),
        *_keys_with_the_owner(plain),
        *_distribution(plain, known),
        *_owners(references),
        *(f"SELECT create_reference_table('{table}')" for table in references),
        *([TRIGGER.strip()] if OWNERS in references else []),
        *_keys_again(plain, keys),
        *_line(),
    ]  # fmt: skip


def emptying() -> list[str]:
    """To be run after that transaction: a table that was filled leaves its rows on the coordinator, where nobody sees
    them and no deletion reaches them. What points at others comes first.
    """
    known = catalog.distributed()
    tables = [*reversed(_parents_first(distributed_tables())), OWNERS, *REFERENCE]
    full = catalog.with_local_rows(tables)
    return [
        f"SELECT truncate_local_data_after_distributing_table('{table}')"
        for table in tables
        if table in full or table not in known
    ]


def _for_all_sessions() -> Iterator[str]:
    name = settings.DATABASES["default"]["NAME"] if connection.connection is None else connection.settings_dict["NAME"]
    for setting, value in SESSION.items():
        yield f"ALTER DATABASE {connection.ops.quote_name(name)} SET {setting} = '{value}'"


def _functions() -> Iterator[str]:
    propagated, nested = catalog.propagated_functions(), catalog.functions_with(NESTED_SETTING)
    yield from (f"SELECT create_distributed_function('{name}')" for name in FUNCTIONS if name not in propagated)
    yield from (f"ALTER FUNCTION {name} SET {NESTED_SETTING} = on" for name in NESTED if name not in nested)


def _parents_first(tables: list[str]) -> list[str]:
    """What is pointed at before what points at it."""
    targets: dict[str, set[str]] = {table: set() for table in tables}
    for key in catalog.foreign_keys(tables):
        if key.target in targets and key.table != key.target and "owner_id" in key.columns:
            targets[key.table].add(key.target)
    return list(TopologicalSorter(targets).static_order())


def _keys_in_the_way(plain: list[str]) -> list[ForeignKey]:
    """Foreign keys that shards cannot keep: without the owner, or setting a part of the key to null."""
    return [key for key in catalog.foreign_keys(plain) if not _is_kept(key)]


def _is_kept(key: ForeignKey) -> bool:
    return "owner_id" in key.columns and key.target != USERS and SET_NULL not in key.definition


def _keys_with_the_owner(plain: list[str]) -> Iterator[str]:
    """Primary keys and unique indexes begin with the owner: a shard can only vouch for what is in it."""
    for index in catalog.unique_indexes(plain):
        if "owner_id" not in index.columns:
            yield from _rebuilt(index)


def _rebuilt(index: UniqueIndex) -> Iterator[str]:
    if index.kind:
        rule = "PRIMARY KEY" if index.kind == "p" else "UNIQUE"
        columns = ", ".join(("owner_id", *index.columns))
        yield (
            f"ALTER TABLE {index.table} DROP CONSTRAINT {index.name}, ADD CONSTRAINT {index.name} {rule} ({columns})"
        )
        return
    yield f"DROP INDEX {index.name}"
    yield re.sub(r"(USING btree) \(", r"\1 (owner_id, ", index.definition, count=1)


def _distribution(plain: Iterable[str], known: dict[str, str]) -> Iterator[str]:
    first = next((table for table in distributed_tables() if known.get(table) == "h"), None)
    for table in plain:
        beside = f"'{first}'" if first else "'none'"
        yield f"SELECT create_distributed_table('{table}', 'owner_id', colocate_with := {beside})"
        first = first or table


def _owners(references: list[str]) -> list[str]:
    if OWNERS not in references:
        return []
    return [OWNERS_TABLE, f"INSERT INTO {OWNERS} SELECT id FROM {USERS} ON CONFLICT DO NOTHING"]  # noqa: S608


def _keys_again(plain: list[str], dropped: list[ForeignKey]) -> Iterator[str]:
    for table in plain:
        yield (
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_owner_fk FOREIGN KEY (owner_id) "
            f"REFERENCES {OWNERS} (id) ON DELETE CASCADE"
        )
    for key in dropped:
        if key.target in REFERENCE:
            yield f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}"
        elif SET_NULL in key.definition:  # documents.services does it before it deletes
            definition = re.sub(rf"{SET_NULL}.*", DEFERRED, key.definition)
            yield f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {definition}"


def _line() -> list[str]:
    if catalog.existing([LINE]):
        return []
    in_work = "('uploaded', 'extracting', 'chunking', 'embedding')"
    fill = f"INSERT INTO {LINE} (owner_id) SELECT DISTINCT owner_id FROM documents_document WHERE status IN {in_work}"  # noqa: S608
    return [LINE_TABLE, fill]
