"""One of many processes that write and read the same values, and look for one that is too old.

``python -m tests.caching.hammer ROLE NUMBER FOLDER``; the folder holds ``plan.json`` and a file that all share:
for each writer and row the last number that it has committed. A writer notes a number there after its commit; a reader
reads the notes before it reads the value: what it gets must not be less.
"""

import json
import mmap
import os
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

WORD = struct.Struct("<q")


class Notes:
    """The shared file."""

    def __init__(self, path: Path, writers: int, rows: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(WORD.size * writers * rows))
        self._map = mmap.mmap(os.open(path, os.O_RDWR), 0)
        self._writers, self._rows = writers, rows

    def note(self, writer: int, row: int, number: int) -> None:
        WORD.pack_into(self._map, WORD.size * (writer * self._rows + row), number)

    def committed(self, row: int) -> int:
        places = range(self._writers)
        return max(WORD.unpack_from(self._map, WORD.size * (writer * self._rows + row))[0] for writer in places)


def break_on_purpose(fault: str, gap: float, committed: Callable[[], None]) -> None:
    """Leave out a part of the protocol.

    In any case writers note what they have committed at once, and wait before they go on: so that a window shows.
    A shared bar also waits before the commit: meanwhile another writer is done, and takes it down.
    """
    from ragsite.caching import protocol, writing

    bar, unbar, commit = protocol.bar, protocol.unbar, writing.TellsChanges._commit
    if fault == "no bar":
        protocol.bar = lambda *_args: None
    if fault == "told after the commit is forgotten":
        writing.TellsChanges._commit = lambda self: self.changed_things.clear() or commit(self)
    if fault == "fills are not refused":
        unchecked = protocol.FILL.replace("~= ARGV[1]", "== ''")
        present = "table.concat(stamps, ' ') .. '\\n' .. ARGV[2]"
        protocol.FILL = unchecked.replace("ARGV[1] .. ARGV[2]", present)
    if fault == "bars are shared":
        protocol.bar = lambda _writer, *rest: (bar("all", *rest), time.sleep(random.random() * gap))[0]
        protocol.unbar = lambda _writer, *rest: late("all", *rest)

    def late(*args: Any) -> None:
        committed()
        time.sleep(random.random() * gap)
        unbar(*args)

    if fault != "bars are shared":
        protocol.unbar = late


class Hammer:
    def __init__(self, number: int, folder: Path) -> None:
        self.plan = json.loads((folder / "plan.json").read_text())
        self.number = number
        self.notes = Notes(folder / "notes", self.plan["writers"], len(self.plan["rows"]))
        self.done = folder / "done"
        self.violations: list[str] = []
        self.written = (0, 0)
        self.began = time.monotonic()
        self.reads = 0

    def write(self) -> None:
        """Until the readers are done."""
        from django.db import connection, transaction

        from tests.caching.kinds import THING

        while not self.done.exists():
            place = random.choices(range(len(self.plan["rows"])), self.plan["weights"])[0]
            owner, row = self.plan["owner"], self.plan["rows"][place]
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE documents_collection SET instructions = (instructions::bigint + 1)::text WHERE id = %s "
                    "RETURNING instructions::bigint",
                    [row],
                )
                number = cursor.fetchone()[0]
                self._tell(owner, UUID(row), THING)
                self.written = (place, number)
            self.note()
            time.sleep(random.random() * self.plan["pause"])

    def note(self) -> None:
        """What was written last is committed."""
        self.notes.note(self.number, *self.written)

    def _tell(self, owner: int, row: UUID, thing: Any) -> None:
        from documents.caching import NAMES
        from ragsite.caching import changed

        changed(thing(owner=owner, row=row), NAMES(owner=owner))

    def read(self) -> None:
        """As many as planned: values by themselves and many at once, and through the API with its ETags."""
        api = Api(self.plan["token"])
        while not self._is_done():
            ways = [self._one, self._one, self._one, self._many]
            if self.plan["api_every"] and self.reads % self.plan["api_every"] == 0:
                self._over_http(api)
            random.choice(ways)()

    def _is_done(self) -> bool:
        """As many as planned, or where a part is left out until one of the readers has seen an older value."""
        if not self.plan["fault"]:
            return bool(self.reads >= self.plan["reads"])
        if self.violations:
            (self.done.with_name("seen")).touch()
        return self.done.with_name("seen").exists() or time.monotonic() - self.began > self.plan["patience"]

    def _pick(self) -> int:
        return random.choices(range(len(self.plan["rows"])), self.plan["weights"])[0]

    def _one(self) -> None:
        from ragsite.caching import get_or_compute
        from tests.caching.kinds import NUMBERS

        place = self._pick()
        least = self.notes.committed(place)
        row = UUID(self.plan["rows"][place])
        self._check(least, get_or_compute(NUMBERS, lambda: slowly(row, self.plan["slow"]), **self._key(row)), "get")

    def _many(self) -> None:
        from ragsite.caching import get_many
        from tests.caching.kinds import NUMBERS

        least = [self.notes.committed(place) for place in range(len(self.plan["rows"]))]
        found = get_many(NUMBERS, [self._key(UUID(row)) for row in self.plan["rows"]])
        for bound, number in zip(least, found, strict=True):
            if number is not None:
                self._check(bound, number, "many")

    def _over_http(self, api: "Api") -> None:
        places = range(len(self.plan["rows"]))
        least = {self.plan["rows"][place]: self.notes.committed(place) for place in places}
        for row, number in api.numbers().items():
            self._check(least[row], number, "api")

    def _key(self, row: UUID) -> dict[str, Any]:
        return {"owner": self.plan["owner"], "row": row}

    def _check(self, least: int, found: int, way: str) -> None:
        self.reads += 1
        if found < least:
            self.violations.append(f"{way}: {found} after {least}")


class Api:
    """A client that keeps what it has and asks whether it is still so."""

    def __init__(self, token: str) -> None:
        from rest_framework.test import APIClient

        self._client = APIClient(SERVER_NAME="localhost")
        self._client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        self._etag, self._kept = "", {}

    def numbers(self) -> dict[str, int]:
        response = self._client.get("/api/v1/collections?page_size=100", HTTP_IF_NONE_MATCH=self._etag)
        assert response.status_code in {200, 304}
        if response.status_code == 200:
            self._etag = response["ETag"]
            self._kept = {row["id"]: int(row["instructions"]) for row in response.json()["results"]}
        return dict(self._kept)


def slowly(row: UUID, most: float) -> int:
    """The number, by a reader who now and then takes his time before he keeps it."""
    from documents.models import Collection

    found = int(Collection.objects.values_list("instructions", flat=True).get(id=row))
    if random.random() < 0.3:
        time.sleep(random.random() * most)
    return found


def main() -> None:
    import django

    django.setup()
    role, number, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    hammer = Hammer(number, folder)
    break_on_purpose(hammer.plan["fault"], hammer.plan["gap"], hammer.note)
    hammer.write() if role == "write" else hammer.read()
    outcome = {"reads": hammer.reads, "violations": len(hammer.violations), "first": hammer.violations[:3]}
    if role == "read":
        from ragsite.caching import statistics

        outcome["hits"] = statistics()["hammered"].hits
    (folder / f"{role}-{number}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
