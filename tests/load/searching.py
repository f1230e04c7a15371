"""How long a search takes over HTTP in libraries of several sizes: for one user, for twenty who ask a question a
second each, and for twenty without a pause, which is as fast as the machine can.

    make bench-search                  1,000 and 100,000 chunks of one owner
    make bench-search SIZE=1000000     and a million

Runs a site of its own in a temporary folder. Its library is `squad`, enlarged (tests/load/library.py).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from ragsite.layout import PROJECT_DIR
from tests.instance import Instance
from tests.quality.tables import made_folder

SET = PROJECT_DIR.parent / "shared" / "data" / "squad"
SMALL, LARGE = 1000, 100_000
AT_ONCE = 20
WARM_UP = 40
QUESTIONS = 200
OWNER = "bench"


def main() -> None:
    """The command: prints a line for each size and crowd."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.searching")
    parser.add_argument("size", type=int, nargs="?", default=LARGE, help="the largest library, in chunks")
    size = parser.parse_args().size
    if not SET.is_dir():
        sys.exit(f"{SET} is not here: the library is made of its documents.")
    with tempfile.TemporaryDirectory(prefix="ragsite-bench-") as folder:
        site = Instance(made_folder(Path(folder)), RAGSITE_THROTTLE="off", DJANGO_SETTINGS_MODULE="ragsite.settings")
        try:
            site.wait_until_ready()
            _measure_all(site, sorted({SMALL, min(LARGE, size), size}))
        finally:
            site.end()


def _measure_all(site: Instance, sizes: Sequence[int]) -> None:
    token = site.manage("create_token", OWNER, "--create", "--name", "bench").stdout.strip()
    ingested = site.manage("ingest", str(SET), "--owner", OWNER)
    assert ingested.returncode == 0, ingested.stderr
    os.environ.update(site.environment)
    import django

    django.setup()
    from ragsite.accounts.models import User
    from tests.load.library import enlarge

    owner_id = User.objects.get(username=OWNER).pk
    print(f"{'chunks':>9} {'made in':>9} {'recall':>7} {'users':>8} {'p50 ms':>7} {'p95 ms':>7} {'a second':>9}")
    for size in sizes:
        started = time.monotonic()
        enlarge(owner_id, size)
        made = time.monotonic() - started
        recall = _recall(owner_id)
        for users, pause in ((1, 0.0), (AT_ONCE, 1.0), (AT_ONCE, 0.0)):
            times, wall = _asked(site.port, token, users, pause)
            p95 = statistics.quantiles(times, n=20)[-1]
            crowd = f"{users}{' calm' if pause else ''}"
            line = f"{size:9,} {made:7.0f} s {recall:7.3f} {crowd:>8} {statistics.median(times) * 1000:7.1f}"
            print(f"{line} {p95 * 1000:7.1f} {len(times) / wall:9.0f}", flush=True)


def _questions() -> list[str]:
    lines = (SET / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines[:: len(lines) // (QUESTIONS + WARM_UP)]]


def _asked(port: int, token: str, users: int, pause: float) -> tuple[list[float], float]:
    """Seconds of each search, and of all together; ``pause`` is between the beginnings of a user's questions."""
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
            times = list(pool.map(ask, questions[WARM_UP : WARM_UP + QUESTIONS]))
            return times, time.perf_counter() - started


def _recall(owner_id: int, questions: int = 20) -> float:
    """The share of the nearest chunks that the index finds."""
    from django.db import connection

    from documents.models import EmbeddingModel
    from documents.search.statement import NEAREST
    from documents.vectors import model_names, vector_literal
    from ragsite.embedding import encoder

    model = EmbeddingModel.objects.get(name=model_names()[0])
    shares = []
    with connection.cursor() as cursor:
        for question in _questions()[:questions]:
            vector = vector_literal(encoder().embed_query(question))
            found = []
            for exact in (False, True):
                cursor.execute(
                    "SELECT document_id, position FROM documents_nearest(%s, %s, %s, NULL, %s, %s, %s)",
                    [owner_id, model.id, model.dimensions, vector, NEAREST, exact],
                )
                found.append(set(cursor.fetchall()))
            shares.append(len(found[0] & found[1]) / len(found[1]))
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
