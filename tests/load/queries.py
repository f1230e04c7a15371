"""How the queries of lists, details, search and upload grow with what is stored.

    make bench-queries                  1,000, 10,000 and 100,000 documents, conversations, messages and chunks
    make bench-queries SIZE=1000000     and a million of each: only what is missing is made and asked

Seeds a site of its own in a folder that stays (--folder), and asks as the account that has most (a fifth of all). What
was measured stays there too (growth.json), so that a run that was stopped, or one for a larger size, shows all columns.
Pages (8 KB) and rows are what the statements of a request read; milliseconds are those of the request in this process,
the median of several: they tell how busy the machine was as well. A conversation has a question and an answer at least:
of messages there are twice as many.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragsite.embedded.services import services_for
from ragsite.layout import PROJECT_DIR

LARGE = 100_000
SIZES = (1000, 10_000, LARGE, 1_000_000)
KINDS = ("documents", "chunks", "conversations", "messages")
REPEATED = 5
LOADED = 5000
"""Rows that COPY and bulk_create are compared with."""
Table = dict[str, tuple[int, int, float, int]]
CALLS = (
    ("documents, newest", "get", "/api/v1/documents"),
    ("documents, a page in the middle", "get", "/api/v1/documents?cursor={deep_documents}"),
    ("documents of a collection", "get", "/api/v1/documents?collection={collection}"),
    ("documents by name", "get", "/api/v1/documents?ordering=filename"),
    ("documents that failed", "get", "/api/v1/documents?status=failed"),
    ("documents, search by words", "get", "/api/v1/documents?search=turbine+oslo"),
    ("document", "get", "/api/v1/documents/{document}"),
    ("its chunks", "get", "/api/v1/documents/{document}/chunks"),
    ("collections, counted", "get", "/api/v1/collections"),
    ("conversations, newest", "get", "/api/v1/conversations"),
    ("conversations, a page in the middle", "get", "/api/v1/conversations?cursor={deep_conversations}"),
    ("conversation with its messages", "get", "/api/v1/conversations/{conversation}"),
    ("conversations, search by words", "get", "/api/v1/conversations?search=turbine+oslo"),
    ("page: library", "get", "/library/"),
    ("page: conversation", "get", "/chat/{conversation}/"),
    ("search of passages (words)", "post", "/api/v1/search"),
    ("upload", "post", "/api/v1/documents"),
)


def main() -> None:
    """The command: prints a table of each size, and one of how they compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.queries")
    parser.add_argument("size", type=int, nargs="?", default=LARGE, help="the largest: so many of each kind")
    parser.add_argument(
        "--folder", type=Path, help="the site's data folder, kept (default: one in the temporary folder)"
    )
    parser.add_argument("--owners", type=int, default=100)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.gettempdir()) / "ragsite-bench-queries"
    os.environ |= {
        "RAGSITE_DATA_DIR": str(folder), "RAGSITE_DOTENV": os.devnull, "RAGSITE_THROTTLE": "off",
        "RAGSITE_CACHES_OFF": "all",
        "RAGSITE_DEBUG": "true", "DJANGO_SETTINGS_MODULE": "ragsite.settings",
    }  # fmt: skip
    _borrow_models(folder)
    with services_for("ask"):
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.ALLOWED_HOSTS, settings.DEBUG = ["*"], False
        call_command("migrate", verbosity=0)
        sizes = [size for size in SIZES if size < given.size] + [given.size]
        _measure(sizes, given.owners, folder / "growth.json")


def _borrow_models(folder: Path) -> None:
    made = PROJECT_DIR / "var" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    if made.is_dir() and not (folder / "models").exists():
        (folder / "models").symlink_to(made, target_is_directory=True)


def _measure(sizes: Sequence[int], owners: int, kept: Path) -> None:
    tables = _kept(kept)
    for size in sizes:
        if size in tables:
            print(f"{size:,}: measured before, in {kept}", file=sys.stderr)
        elif (there := _documents()) > size * 1.1:  # uploads of runs before have added some
            print(f"{size:,}: passed over, the site in this folder has {there:,} documents already", file=sys.stderr)
        else:
            _grow(size, owners)
            tables[size] = _table()
            kept.write_text(json.dumps(tables))
    _compare(tables)
    _compare_loading()


def _kept(path: Path) -> dict[int, Table]:
    return {int(size): table for size, table in json.loads(path.read_text()).items()} if path.exists() else {}


def _grow(size: int, owners: int) -> None:
    from django.core.management import call_command

    started, processor = time.monotonic(), time.process_time()
    call_command("seed", owners=owners, **dict.fromkeys(KINDS, size))
    seconds, own = time.monotonic() - started, time.process_time() - processor
    load = os.getloadavg()[0]
    print(f"\n{size:,} of each kind after {seconds:.0f} s ({own:.0f} s of this process); load average {load:.1f}")


def _documents() -> int:
    from documents.models import Document

    return Document.objects.count()


def _table() -> Table:
    """Pages, rows, milliseconds and statements of each request."""
    from ragsite.accounts.models import User
    from tests.queries.requests import Call, a_file
    from tests.queries.world import Caller

    caller = Caller(User.objects.get(username="seed-00001"))
    found = {}
    for label, method, path in CALLS:
        data = {"/api/v1/search": {"query": "When was the turbine in Oslo replaced?"}, "/api/v1/documents": a_file}
        call = Call(method, path, data[path] if method == "post" else None, expect=201 if label == "upload" else 200)
        found[label] = _asked(caller, call)
        pages, rows, milliseconds, statements = found[label]
        print(
            f"  {label:36} {pages:7,} pages {rows:7,} rows {statements:3} statements {milliseconds:8.1f} ms", flush=True
        )
    return found


def _asked(caller: Any, call: Any) -> tuple[int, int, float, int]:
    from tests.queries.plans import rows_read
    from tests.queries.recording import recorded

    times = []
    for _ in range(REPEATED):
        started = time.perf_counter()
        response = caller.send(call)
        times.append((time.perf_counter() - started) * 1000)
        assert response.status_code == call.expect, (call, response.content)
    with recorded(plans=True) as statements:
        caller.send(call)
    pages, rows = sum(one.buffers for one in statements), sum(map(rows_read, statements))
    return pages, rows, statistics.median(times), len(statements)


def _compare(tables: dict[int, Table]) -> None:
    print("\n| pages read, rows (median ms) | " + " | ".join(f"{size:,}" for size in tables) + " |")
    print("|---|" + "---|" * len(tables))
    for label, *_ in CALLS:
        cells = [f"{table[label][0]:,}, {table[label][1]:,} ({table[label][2]:.0f})" for table in tables.values()]
        print(f"| {label} | " + " | ".join(cells) + " |")


def _compare_loading() -> None:
    """COPY against bulk_create: the same chunks, rolled back, in turn."""
    from django.db import transaction

    from chat.seeding import texts
    from chat.seeding.libraries import CHUNK_COLUMNS, Writer
    from chat.seeding.plan import times
    from documents.models import Chunk
    from ragsite.accounts.models import User
    from ragsite.copying import copy_rows

    owner = User.objects.get(username="seed-00001").pk
    seconds: dict[str, list[float]] = {"COPY": [], "bulk_create": []}
    for _ in range(3):
        for way, measured in seconds.items():
            writer = Writer(texts.sentences(), {}, None)
            writer.add(owner, times(1)[0], LOADED)
            rows, writer.chunks = writer.chunks, []
            with transaction.atomic():
                writer.flush()
                started = time.perf_counter()
                if way == "COPY":
                    copy_rows("documents_chunk", CHUNK_COLUMNS, rows)
                else:
                    Chunk.objects.bulk_create([_chunk(row) for row in rows], 500)
                measured.append(time.perf_counter() - started)
                transaction.set_rollback(True)
    print(f"\n{LOADED:,} chunks into documents_chunk with its indexes, the best of 3:")
    for way, measured in seconds.items():
        print(f"  {way:12} {min(measured):6.2f} s, {LOADED / min(measured):7,.0f} rows a second")


def _chunk(row: Sequence[Any]) -> Any:
    from chat.seeding.libraries import CHUNK_COLUMNS
    from documents.models import Chunk

    values = dict(zip(CHUNK_COLUMNS, row, strict=True))
    return Chunk(**values | {"headings": list(values["headings"])})


if __name__ == "__main__":
    main()
