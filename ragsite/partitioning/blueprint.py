"""The SQL by which one hash partition becomes several, read off the partition as it is.

PostgreSQL lets partitions of different moduli stand side by side as long as the smaller divides the larger: remainder 3
of 16 may be replaced by the remainders 3, 19, 35 and 51 of 64, and the other fifteen stay as they are.
"""

import re
from dataclasses import dataclass, field

from ragsite.partitioning.catalog import Partition, rows

LONGEST_NAME = 63
TRIGGER = "ragsite_mirror"
INDEX = re.compile(r"CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ USING ")

COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod), attgenerated = '' FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CONSTRAINTS = """
SELECT contype::text, conname::text, pg_get_constraintdef(oid), confrelid::regclass::text,
  ARRAY(SELECT a.attname::text FROM unnest(conkey) WITH ORDINALITY AS key(number, place)
        JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = key.number ORDER BY key.place)
FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'f') ORDER BY contype DESC, conname
"""
INDEXES = """
SELECT coalesce(parent.relname, own.relname)::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class own ON own.oid = i.indexrelid
LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid LEFT JOIN pg_class parent ON parent.oid = h.inhparent
WHERE i.indrelid = %s::regclass AND i.indisvalid AND NOT EXISTS (
  SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u')) ORDER BY 1
"""
STORAGE = """
SELECT array_cat(c.reloptions, ARRAY(SELECT 'toast.' || option FROM unnest(t.reloptions) option))
FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = %s::regclass
"""


@dataclass(frozen=True)
class Blueprint:
    """One partition of ``parent``, and what is to become of it."""

    parent: str
    partition: Partition
    target: int
    key_column: str
    columns: tuple[tuple[str, str], ...]
    """Names and types of those that are written; generated ones are not."""
    all_columns: tuple[str, ...]
    key: tuple[str, ...]
    unique: tuple[str, ...]
    foreign: dict[str, str] = field(default_factory=dict)
    """By name; so are the indexes, by that of the parent's index."""
    referenced: tuple[str, ...] = ()
    indexes: dict[str, str] = field(default_factory=dict)
    options: str = ""

    @property
    def source(self) -> str:
        return self.partition.name

    @property
    def shadow(self) -> str:
        return f"{self.source}_split"

    @property
    def children(self) -> dict[str, int]:
        """Names and remainders."""
        remainders = range(self.partition.remainder, self.target, self.partition.modulus)
        return {f"{self.parent}_p{number:02}_{self.target}": number for number in remainders}

    @property
    def structure(self) -> tuple[object, ...]:
        """What a migration may change, and what must not change while a partition is split."""
        return self.all_columns, self.columns, self.unique, self.foreign, self.indexes

    def index_name(self, child: str, index: str) -> str:
        return f"{child}_{index}"[:LONGEST_NAME]

    def creation(self) -> list[str]:
        """Empty partitions under a parent of their own, and a trigger that repeats there what is written."""
        like = f"(LIKE {self.source} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)"
        made = [f"CREATE TABLE {self.shadow} {like} PARTITION BY HASH ({self.key_column})"]
        made += [f"ALTER TABLE {self.shadow} ADD {definition}" for definition in self.unique]
        for child, remainder in self.children.items():
            made += [
                f"CREATE TABLE {child} {like}{self.options}",
                f"ALTER TABLE {child} ADD CONSTRAINT {child}_hash CHECK (satisfies_hash_partition("
                f"(SELECT_OID)::oid, {self.target}, {remainder}, {self.key_column}))",
                f"ALTER TABLE {self.shadow} ATTACH PARTITION {child} {self._bound(remainder)}",
            ]
        return [self._with_oid(statement) for statement in made] + self.mirror()

    def copying(self) -> str:
        """A batch in the order of the key, from ``after`` on: what is missing in the new partitions.

        What someone is changing at this moment is skipped, so that nobody waits for anybody crosswise; the batch is
        then repeated. A row that is locked here cannot be deleted before it has been copied, and the trigger then
        deletes the copy too.
        """
        key, names = ", ".join(_quoted(self.key)), ", ".join(_quoted([name for name, _ in self.columns]))
        own = ", ".join(f"s.{name}" for name in _quoted([name for name, _ in self.columns]))
        return f"""
WITH batch AS MATERIALIZED (SELECT {key} FROM {self.source} {{where}} ORDER BY {key} LIMIT {{size}}),
missing AS MATERIALIZED (SELECT {key} FROM batch b WHERE NOT EXISTS (
  SELECT FROM {self.shadow} t WHERE {_equal("t", "b", self.key)})),
locked AS MATERIALIZED (SELECT {own} FROM missing m JOIN {self.source} s ON {_equal("s", "m", self.key)}
  FOR SHARE OF s SKIP LOCKED),
copied AS (INSERT INTO {self.shadow} ({names}) SELECT {names} FROM locked ON CONFLICT DO NOTHING RETURNING 1)
SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM missing), (SELECT count(*) FROM locked),
  (SELECT count(*) FROM copied), (SELECT ARRAY[{", ".join(f"{name}::text" for name in _quoted(self.key))}]
   FROM batch ORDER BY {", ".join(f"{name} DESC" for name in _quoted(self.key))} LIMIT 1)"""  # noqa: S608

    def after(self) -> str:
        """The condition of all batches but the first."""
        types = dict(self.columns)
        return (
            f"WHERE ({', '.join(_quoted(self.key))}) > ({', '.join(f'%s::text::{types[name]}' for name in self.key)})"
        )

    def index_creation(self, child: str) -> dict[str, str]:
        """By the names of the new indexes."""
        found = {}
        for index, definition in self.indexes.items():
            name = self.index_name(child, index)
            head = rf"CREATE \1INDEX CONCURRENTLY {name} ON {child} USING "
            found[name] = INDEX.sub(head, definition, count=1)
        return found

    def key_creation(self, child: str) -> dict[str, list[str]]:
        """By the names of the foreign keys: added for what comes, then checked for what is there."""
        return {
            name: [
                f"ALTER TABLE {child} ADD CONSTRAINT {name} {definition} NOT VALID",
                f"ALTER TABLE {child} VALIDATE CONSTRAINT {name}",
            ]
            for name, definition in self.foreign.items()
        }

    def comparison(self) -> str:
        """Count and checksum of the keys of both sides, of one moment."""
        key = ", ".join(_quoted(self.key))
        side = f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({key}), 0)::numeric), 0) FROM"
        return f"SELECT * FROM ({side} {self.source}) source, ({side} {self.shadow}) copy"  # noqa: S608

    def quiet(self) -> list[str]:
        """Ends autovacuum there and keeps it away, without stopping anybody who reads or writes."""
        tables = ", ".join([self.source, self.shadow, *self.children])
        return [f"LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE"]

    def swap(self) -> list[str]:
        """Catalogue alone; the check of each new partition says what attaching would else read all rows for."""
        tables = ", ".join([*self.referenced, f"ONLY {self.parent}", self.source])
        done = [f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"]
        done += [f"ALTER TABLE {self.shadow} DETACH PARTITION {child}" for child in self.children]
        done += [f"DROP TABLE {self.shadow}", f"DROP TABLE {self.source}", f"DROP FUNCTION {self.shadow}_mirror()"]
        for child, remainder in self.children.items():
            done += [
                f"ALTER TABLE {self.parent} ATTACH PARTITION {child} {self._bound(remainder)}",
                f"ALTER TABLE {child} DROP CONSTRAINT {child}_hash",
            ]
        return done

    def undoing(self) -> list[str]:
        """Back to the one partition, at any time before the swap."""
        tables = ", ".join([*self.referenced, self.source])
        return [
            f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE",
            f"DROP TRIGGER {TRIGGER} ON {self.source}",
            f"DROP TRIGGER {TRIGGER}_truncate ON {self.source}",
            f"DROP TABLE {self.shadow}",
            f"DROP FUNCTION {self.shadow}_mirror()",
        ]

    def _bound(self, remainder: int) -> str:
        return f"FOR VALUES WITH (MODULUS {self.target}, REMAINDER {remainder})"

    def _with_oid(self, statement: str) -> str:
        """The number and not the name of the parent: a name would make the parent depend on its own new partition."""
        if "SELECT_OID" not in statement:
            return statement
        return statement.replace("SELECT_OID", str(rows("SELECT %s::regclass::oid", [self.parent])[0][0]))

    def mirror(self) -> list[str]:
        """The trigger that repeats in the new partitions what is written to the old one."""
        names = ", ".join(_quoted([name for name, _ in self.columns]))
        values = ", ".join(f"NEW.{name}" for name in _quoted([name for name, _ in self.columns]))
        return [
            f"""CREATE FUNCTION {self.shadow}_mirror() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' OR current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION '{self.source} is being split: neither TRUNCATE nor a stricter isolation than READ COMMITTED'
      USING ERRCODE = 'object_in_use';
  END IF;
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM {self.shadow} t WHERE {_equal("t", "OLD", self.key)};
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO {self.shadow} ({names}) VALUES ({values});
  END IF;
  RETURN NULL;
END
$$""",  # noqa: S608
            f"CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {self.source} "
            f"FOR EACH ROW EXECUTE FUNCTION {self.shadow}_mirror()",
            f"CREATE TRIGGER {TRIGGER}_truncate BEFORE TRUNCATE ON {self.source} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.shadow}_mirror()",
        ]


def read(parent: str, partition: Partition, target: int, key_column: str) -> Blueprint:
    """The blueprint of a partition as it is now."""
    columns = rows(COLUMNS, [partition.name])
    constraints = rows(CONSTRAINTS, [partition.name])
    options = rows(STORAGE, [partition.name])[0][0]
    return Blueprint(
        parent=parent,
        partition=partition,
        target=target,
        key_column=key_column,
        columns=tuple((name, kind) for name, kind, written in columns if written),
        all_columns=tuple(name for name, *_ in columns),
        key=tuple(next(key for kind, _, _, _, key in constraints if kind == "p")),
        unique=tuple(definition for kind, _, definition, _, _ in constraints if kind in {"p", "u"}),
        foreign={name: definition for kind, name, definition, _, _ in constraints if kind == "f"},
        referenced=tuple(sorted({table for kind, _, _, table, _ in constraints if kind == "f"})),
        indexes=dict(rows(INDEXES, [partition.name])),
        options=f" WITH ({', '.join(options)})" if options else "",
    )


def _quoted(names: tuple[str, ...] | list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _equal(left: str, right: str, names: tuple[str, ...]) -> str:
    return " AND ".join(f"{left}.{name} = {right}.{name}" for name in _quoted(names))
