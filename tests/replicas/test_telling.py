"""Whatever is read by an owner's position tells it when it is changed."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection, transaction

from chat.caching import CHAT_WRITTEN, conversation_changed, quotes_changed
from documents.caching import (
    CORPUS_WRITTEN,
    LIBRARY_WRITTEN,
    corpus_changed,
    library_changed,
    names_changed,
)
from ragsite.caching import keyspaces
from ragsite.layout import PROJECT_DIR

TELLING = (
    lambda: library_changed(1),
    lambda: library_changed(1, [uuid4()]),
    lambda: corpus_changed(1, [uuid4()]),
    lambda: names_changed(1, [uuid4()]),
    lambda: conversation_changed(1, uuid4()),
    lambda: quotes_changed(1),
)
POSITIONS = (LIBRARY_WRITTEN, CORPUS_WRITTEN, CHAT_WRITTEN)


@pytest.mark.django_db
def test_a_change_of_anything_that_a_value_is_made_of_moves_its_owners_position() -> None:
    tolerant = [space for space in keyspaces() if space.from_replica]
    assert {space.from_replica.name for space in tolerant if space.from_replica} == {one.name for one in POSITIONS}
    for tell in TELLING:
        told = _told(tell)
        for space in tolerant:
            assert space.from_replica
            if told & {dependency.name for dependency in space.depends_on}:
                moved = {dependency.name for dependency in space.from_replica.depends_on}
                assert told & moved, f"{space.name} is made of {told}"


def _told(tell: object) -> set[str]:
    with transaction.atomic():
        tell()  # type: ignore[operator]
        told = {thing.split(":")[0] for thing in connection.changed_things}  # type: ignore[attr-defined]
        connection.changed_things.clear()  # type: ignore[attr-defined]
    return told


def test_what_else_tells_changes_tells_of_all_that_an_owner_has() -> None:
    """Vectors are seen by searches, which go by CORPUS, and all of the chat goes by CONVERSATIONS."""
    calls = re.compile(r"(?<![\w_])chang(?:ed|ing)(?:_at_once)?\(([A-Z_]+)\(")
    rooms = [PROJECT_DIR / room for room in ("documents", "processing", "chat", "ragsite")]
    found = {
        (path.relative_to(PROJECT_DIR), told)
        for room in rooms
        for path in room.rglob("*.py")
        for told in calls.findall(path.read_text())
        if path.parent.name != "caching" and path.name != "caching.py"
    }
    assert found == {(Path("processing/writing.py"), "CORPUS"), (Path("chat/services.py"), "CONVERSATIONS")}
