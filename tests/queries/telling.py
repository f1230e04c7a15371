"""Which changes a request must tell to the caches, by the tables that its statements write."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

from ragsite.caching import protocol
from tests.queries.recording import Statement

WRITE = re.compile(
    r'\s*(?:WITH .*? )?(INSERT INTO|UPDATE|DELETE FROM|COPY) (?:ONLY )?"?(\w+)"?', re.IGNORECASE | re.DOTALL
)
UNSEEN = re.compile(r'SET "stop_requested" = %s(?:, )?\s*WHERE')
"""A column that nothing shows."""
MUST_TELL = {
    "documents_document": {"library"},
    "documents_collection": {"names"},
    "documents_membership": {"names"},
    "documents_text": {"corpus"},
    "documents_chunk": {"corpus"},
    "documents_embedding": {"corpus"},
    "chat_conversation": {"conversations"},
    "chat_message": {"conversation", "conversations"},
    "chat_messagebody": {"conversation", "conversations"},
    "chat_citation": {"conversation", "quotes"},
}
"""One of these for each table that is written; what else it concerns shows tests/caching/test_every_write.py."""


@contextlib.contextmanager
def telling() -> Iterator[set[str]]:
    """The kinds of things that are told at commits meanwhile, in any thread."""
    told: set[str] = set()
    bar = protocol.bar

    def note(writer: str, epoch: str, things: Any) -> None:
        told.update(thing.partition(":")[0] for thing in things)
        bar(writer, epoch, things)

    with mock.patch.object(protocol, "bar", note):
        yield told


def untold(statements: list[Statement], told: set[str]) -> list[str]:
    """A sentence for each table that was written without a word of it."""
    shown = [statement.sql for statement in statements if not UNSEEN.search(statement.sql)]
    written = {match[2].lower() for sql in shown if (match := WRITE.match(sql))}
    return [
        f"{table} was written, and none of {sorted(MUST_TELL[table])} told"
        for table in sorted(written & MUST_TELL.keys())
        if not told & MUST_TELL[table]
    ]
