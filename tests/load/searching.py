"""How long a search takes in libraries of several sizes, how much of the exact result its index finds, and what the
index costs.

    make bench-search                  libraries of 1,000, 3,000, 10,000 and 100,000 chunks
    make bench-search SIZE=1000000     and of a million: takes some 20 GB in var/bench-search, and may be stopped and
                                       started again, which goes on where it was

Runs a site of its own. Each library is one owner's, all of them in one database, made of perturbed copies of the
documents of ../shared/data (tests/load/library.py). Over HTTP it is asked by one user, by twenty who ask a question a
second each, and by twenty without a pause, which is as fast as the machine can.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psutil
import psycopg2

from ragsite.layout import PROJECT_DIR, Layout
from tests.instance import Instance
from tests.quality.tables import DATA, SETS, made_folder

SIZES = (1_000, 3_000, 10_000, 100_000, 1_000_000)
KEPT_FROM = 1_000_000
KEPT = PROJECT_DIR / "var" / "bench-search"
AT_ONCE = 20
CROWDS = ((1, 0.0), (AT_ONCE, 1.0), (AT_ONCE, 0.0))
"""How many users, and the seconds between the beginnings of a user's questions."""
WARM_UP = 40
QUESTIONS = 200
OF_EACH_SET = {"squad": 3, "jaquad": 1}
"""In what proportion they are asked."""
EXACT_QUESTIONS = 40
SOURCE = "bench-source"


def main() -> None:
    """The command: prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.searching")
    parser.add_argument("size", type=int, nargs="?", default=100_000, help="the largest library, in chunks")
    size = parser.parse_args().size
    if missing := [name for name in SETS if not (DATA / name).is_dir()]:
        sys.exit(f"{DATA} does not hold {', '.join(missing)}: the libraries are made of their documents.")
    with _folder(size) as folder:
        environment = {"RAGSITE_THROTTLE": "off", "DJANGO_SETTINGS_MODULE": "ragsite.settings"}
        site = Instance(folder, **environment, RAGSITE_CACHES_OFF="all")  # each crowd asks the same questions
        try:
            site.wait_until_ready()
            _measure_all(site, sorted({*(entry for entry in SIZES if entry < size), size}))
        finally:
            site.end()


@contextlib.contextmanager
def _folder(size: int) -> Iterator[Path]:
    """The site's data folder: a temporary one, or, where making it takes long, one that is kept."""
    if size >= KEPT_FROM:
        KEPT.mkdir(parents=True, exist_ok=True)
        yield KEPT / "site" if (KEPT / "site").is_dir() else made_folder(KEPT)
        print(f"\nKept for the next time: {KEPT.relative_to(PROJECT_DIR)} (remove it to start anew).")
        return
    with tempfile.TemporaryDirectory(prefix="ragsite-bench-") as temporary:
        yield made_folder(Path(temporary))


def _measure_all(site: Instance, sizes: Sequence[int]) -> None:
    tokens = {size: _token(site, f"bench-{size}") for size in sizes}
    _token(site, SOURCE)
    for name in SETS:
        ingested = site.manage("ingest", str(DATA / name), "--owner", SOURCE)
        assert ingested.returncode == 0, ingested.stderr
    os.environ.update(site.environment)
    _let_loading_skip_checks(Layout(site.folder))
    import django

    django.setup()
    from ragsite.accounts.models import User

    owners = {size: User.objects.get(username=f"bench-{size}").pk for size in sizes}
    source = User.objects.get(username=SOURCE).pk
    _print_loads("before")
    _print_making(source, owners)
    _print_recall(owners)
    _print_times(site.port, tokens)
    _print_loads("after")


def _token(site: Instance, owner: str) -> str:
    return site.manage("create_token", owner, "--create", "--name", "bench").stdout.strip()


def _let_loading_skip_checks(layout: Layout) -> None:
    """Rows that are made here are known to fit each other: checking six million keys takes longer than writing them."""
    with psycopg2.connect(
        host=str(layout.postgres_socket_dir), user="postgres", password=layout.secret("postgres_superuser_password"),
        dbname="ragsite",
    ) as database, database.cursor() as cursor:  # fmt: skip
        cursor.execute("GRANT SET ON PARAMETER session_replication_role TO ragsite")


def _print_loads(when: str) -> None:
    print(f"load average {when}: {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")


def _print_making(source: int, owners: dict[int, int]) -> None:
    """Makes what is missing; what the indexes cost to build and to insert into."""
    from django.db import connection

    from documents.models import EmbeddingModel
    from documents.vectors import index_name, model_names
    from tests.load.library import enlarge

    made, started = 0, time.monotonic()

    def progress(chunks: int) -> None:
        nonlocal made
        made += chunks
        if made // 50_000 > (made - chunks) // 50_000:
            print(f"  {made:9,} chunks made, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    build = enlarge(source, {owner: size for size, owner in owners.items()}, progress)
    name = index_name(EmbeddingModel.objects.get(name=model_names()[0]))
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(%s) WHERE isleaf", [name])
        index = cursor.fetchone()[0]
        cursor.execute("SELECT pg_database_size(current_database())")
        database = cursor.fetchone()[0]
    if made:
        print(f"{made:,} chunks made in {time.monotonic() - started:.0f} s, of that the vector index {build:.0f} s")
    print(f"vector index {index / 2**20:,.0f} MB, database {database / 2**20:,.0f} MB")
    print(f"\n{'chunks':>9} {'insert ms':>10}   (a document of 50 chunks with its vectors, into all indexes)")
    for size, owner in owners.items():
        print(f"{size:9,} {_insert_ms(source, owner):10.0f}", flush=True)


def _insert_ms(source: int, owner: int, times: int = 5) -> float:
    """The median time to write a document of 50 chunks; nothing is left of it."""
    from django.db import transaction

    from documents.models import EmbeddingModel
    from documents.vectors import model_names
    from tests.load.library import CHUNKS_OF_A_DOCUMENT, make_chunks, real_documents

    model = EmbeddingModel.objects.get(name=model_names()[0])
    sources, seconds = real_documents(source, model.id), []
    for _ in range(times):
        with transaction.atomic():
            started = time.perf_counter()
            make_chunks(owner, model.id, sources, CHUNKS_OF_A_DOCUMENT)
            seconds.append(time.perf_counter() - started)
            transaction.set_rollback(True)
    return statistics.median(seconds) * 1000


def _print_recall(owners: dict[int, int]) -> None:
    """What the index finds of the nearest, how long it takes, and how long the exact way takes."""
    print(f"\n{'chunks':>9} {'exact p50':>10} {'index p50':>10} {'p95 ms':>7} {'recall@10':>10} {'@100':>6}", end="")
    print(f" {'passages@10':>12}")
    for size, owner in owners.items():
        exact, index, shares = _compared(owner, size)
        p95 = statistics.quantiles(index, n=20)[-1]
        times = f"{statistics.median(exact):10.1f} {statistics.median(index):10.1f} {p95:7.1f}"
        print(f"{size:9,} {times} {shares[0]:10.4f} {shares[1]:6.3f} {shares[2]:12.4f}", flush=True)


def _compared(owner: int, size: int) -> tuple[list[float], list[float], tuple[float, float, float]]:
    """Milliseconds of both ways; the index's share of the exact way's 10 and 100 nearest chunks, and of the ten
    passages that search by meaning gives with all chunks compared."""
    from documents.search import Mode, Scope, statement
    from documents.search.ranking import rank
    from documents.search.statement import LARGE_NEAREST
    from ragsite.embedding import encoder

    exact_ms, index_ms, shares = [], [], []
    for question in _questions()[:EXACT_QUESTIONS]:
        vector = encoder().embed_query(question)
        exact, milliseconds = _nearest(owner, size, vector, LARGE_NEAREST, exact=True)
        exact_ms.append(milliseconds)
        _nearest(owner, size, vector, LARGE_NEAREST, exact=False)
        found, milliseconds = _nearest(owner, size, vector, LARGE_NEAREST, exact=False)
        index_ms.append(milliseconds)
        hits = []
        for limit in (0, 10**9):
            with mock.patch.object(statement, "exact_up_to", return_value=limit):
                hits.append(rank(Scope(owner), question, vector, 10, Mode.MEANING))
        passages = [{(hit.document_id, hit.position) for hit in entry} for entry in hits]
        common = [len(set(found) & set(exact[:count])) / len(exact[:count]) for count in (10, LARGE_NEAREST)]
        shares.append((*common, len(passages[0] & passages[1]) / len(passages[1])))
    return exact_ms, index_ms, tuple(map(statistics.mean, zip(*shares, strict=True)))  # type: ignore[return-value]


def _nearest(owner: int, size: int, vector: Any, wanted: int, exact: bool) -> tuple[list[tuple[Any, int]], float]:
    from django.db import connection

    from documents.models import EmbeddingModel
    from documents.search.statement import effort
    from documents.vectors import model_names, vector_literal

    model = EmbeddingModel.objects.get(name=model_names()[0])
    with connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(
            "SELECT document_id, position FROM documents_nearest(%s, %s, %s, NULL, %s, %s, %s, %s)",
            [owner, model.id, model.dimensions, vector_literal(vector), wanted, exact, effort(size)],
        )
        return cursor.fetchall(), (time.perf_counter() - started) * 1000


def _print_times(port: int, tokens: dict[int, str]) -> None:
    print(f"\n{'chunks':>9} {'users':>8} {'p50 ms':>7} {'p95 ms':>7} {'a second':>9} {'CPU ms a search':>16}")
    for size, token in tokens.items():
        for users, pause in CROWDS:
            before = _cpu_seconds()
            times, wall = _asked(port, token, users, pause)
            used = sum(seconds - before.get(pid, 0.0) for pid, seconds in _cpu_seconds().items())
            cpu = used / (len(times) + WARM_UP) * 1000
            crowd = f"{users}{' calm' if pause else ''}"
            p50, p95 = statistics.median(times) * 1000, statistics.quantiles(times, n=20)[-1] * 1000
            print(f"{size:9,} {crowd:>8} {p50:7.1f} {p95:7.1f} {len(times) / wall:9.0f} {cpu:16.1f}", flush=True)


def _cpu_seconds() -> dict[int, float]:
    """Processor time so far of each process of the site: of those that this one has started."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def _questions() -> list[str]:
    """As many as are asked, in the order of a fixed mixture of the sets."""
    wanted, parts = QUESTIONS + WARM_UP, sum(OF_EACH_SET.values())
    found: list[tuple[float, str]] = []
    for name, share in OF_EACH_SET.items():
        lines = (DATA / name / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        count = wanted * share // parts
        chosen = lines[:: len(lines) // count][:count]
        found += [(place / count, json.loads(line)["question"]) for place, line in enumerate(chosen)]
    return [question for _, question in sorted(found)]


def _asked(port: int, token: str, users: int, pause: float) -> tuple[list[float], float]:
    """Seconds of each search, and of all together."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:

        def ask(question: str) -> float:
            started = time.perf_counter()
            response = client.post("/api/v1/search", json={"query": question, "limit": 10})
            elapsed = time.perf_counter() - started
            assert response.status_code == 200, response.text
            assert response.json()["results"]
            time.sleep(max(0.0, pause - elapsed))
            return elapsed

        questions = _questions()
        with ThreadPoolExecutor(users) as pool:
            list(pool.map(ask, questions[:WARM_UP]))
            started = time.perf_counter()
            times = list(pool.map(ask, questions[WARM_UP:]))
            return times, time.perf_counter() - started


if __name__ == "__main__":
    main()
