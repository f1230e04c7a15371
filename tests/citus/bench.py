"""Search and chat writes on one node, and on a coordinator with its workers: ``make bench-citus CITUS_URL=…``.

The same data in two databases of one cluster: one stands on the coordinator alone as a plain PostgreSQL, the other is
distributed. Rounds on both alternate, so that what else the machine does falls on both. All of it shares the machine's
cores, so what is seen is the price of distribution, not what more machines bring.
"""

import json
import os
import subprocess
import sys
import tempfile
from statistics import median, quantiles
from typing import Any

from tests.citus import databases

ROUNDS = 3
PLAIN, SHARDED = "ragsite_bench_plain", "ragsite_bench_sharded"
SEED = ["--owners", "20", "--documents", "300", "--chunks", "2000", "--conversations", "300", "--messages", "900"]
VECTORS = """
INSERT INTO documents_embeddingmodel (name, dimensions) VALUES (%(model)s, 384);
INSERT INTO documents_embedding (owner_id, document_id, position, part, model_id, content_hash, vector)
SELECT owner_id, document_id, position, 0, (SELECT id FROM documents_embeddingmodel),
  sha256(concat(document_id, position)::bytea), l2_normalize((
    SELECT array_agg(sin(c.sample_key::float8 / n) ORDER BY n) FROM generate_series(1, 384) AS n
  )::real[]::vector::halfvec)
FROM documents_chunk c;
ANALYZE
"""


def main() -> None:
    """The command."""
    url = os.environ.get("CITUS_URL", "")
    if not url:
        print("SKIPPED: name the coordinator of a cluster: make bench-citus CITUS_URL=postgresql://…")
        return
    urls = {name: databases.create(url, name, shards=8) for name in (PLAIN, SHARDED)}
    try:
        for name, made in urls.items():
            _fill(made, name == SHARDED)
        _print(_measured(urls))
    finally:
        for name in urls:
            databases.drop(url, name)


def _fill(url: str, sharded: bool) -> None:
    _python(url, "manage.py", "migrate", "--verbosity=0")
    _python(url, "manage.py", "seed", *SEED)
    _python(url, "-m", "tests.citus.load", "vectors")
    if sharded:
        _python(url, "manage.py", "shard")


def _measured(urls: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in urls}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            found[name].append(json.loads(_python(url, "-m", "tests.citus.load", "measure").splitlines()[-1]))
    return found


def _python(url: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ, "DATABASE_URL": url, "RAGSITE_DATA_DIR": folder, "RAGSITE_DOTENV": os.devnull,
            "DJANGO_SETTINGS_MODULE": "ragsite.settings", "RAGSITE_CACHES_OFF": "all",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return done.stdout


def _print(found: dict[str, list[dict[str, Any]]]) -> None:
    print(f"load of the machine, cores: {os.getloadavg()[0]:.1f}, {os.cpu_count()}")
    print("| | one node: a second, p50, p95 ms | coordinator and workers | throughput left |\n|---|---|---|---|")
    for what in ("search", "chat writes"):
        plain, sharded = ([run[what] for run in found[name]] for name in (PLAIN, SHARDED))
        share = median(theirs["rate"] / mine["rate"] for mine, theirs in zip(plain, sharded, strict=True))
        print(f"| {what} | {_cell(plain)} | {_cell(sharded)} | {share:.0%} |")


def _cell(runs: list[dict[str, Any]]) -> str:
    rates = sorted(run["rate"] for run in runs)
    return (
        f"{median(rates):.0f} ({rates[0]:.0f}–{rates[-1]:.0f}), "
        f"{median(run['p50'] for run in runs):.1f}, {median(run['p95'] for run in runs):.1f}"
    )


def percentiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    cuts = quantiles(seconds, n=20)
    return {"p50": cuts[9] * 1000, "p95": cuts[18] * 1000}


if __name__ == "__main__":
    main()
