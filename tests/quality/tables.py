"""The tables of docs/quality.md, from a site of its own in a temporary folder.

    make eval                    squad, jaquad and sec10q, all in one library
    make eval SETS="squad"       one of them; LIMIT=500 asks a sample

Each set is asked twice: by `manage.py evaluate`, which takes search apart, and over HTTP, as programs ask.
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
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
from tqdm import tqdm

from ragsite.layout import PROJECT_DIR
from tests.instance import Instance

DATA = PROJECT_DIR.parent / "shared" / "data"
SETS = ("squad", "jaquad", "sec10q")
OWNER = "eval"


def main() -> None:
    """The command: ingests, asks, prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.tables")
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--limit", type=int, help="ask a sample of so many questions of each set")
    options = parser.parse_args()
    if missing := [name for name in options.sets if not (DATA / name).is_dir()]:
        sys.exit(f"{DATA} does not hold {', '.join(missing)}.")
    with tempfile.TemporaryDirectory(prefix="ragsite-eval-") as folder:
        site = Instance(made_folder(Path(folder)), RAGSITE_THROTTLE="off", DJANGO_SETTINGS_MODULE="ragsite.settings")
        try:
            site.wait_until_ready()
            _print_tables(site, options.sets, options.limit)
        finally:
            site.end()


def made_folder(folder: Path) -> Path:
    """A data folder with the model that has been made in the checkout, if it has."""
    made, data = PROJECT_DIR / "var" / "models", folder / "site"
    data.mkdir()
    if made.is_dir():
        (data / "models").symlink_to(made, target_is_directory=True)
    return data


def _print_tables(site: Instance, sets: Sequence[str], limit: int | None) -> None:
    token = site.manage("create_token", OWNER, "--create", "--name", "eval").stdout.strip()
    for name in sets:
        started = time.monotonic()
        ingested = site.manage("ingest", str(DATA / name), "--owner", OWNER)
        assert ingested.returncode == 0, ingested.stderr
        print(f"{name}: {ingested.stdout.strip().splitlines()[-1]}, {time.monotonic() - started:.0f} s", flush=True)
    os.environ.update(site.environment)
    import django

    django.setup()
    sample = ["--limit", str(limit)] if limit else []
    for name in sets:
        asked = site.manage("evaluate", str(DATA / name), "--owner", OWNER, *sample)
        assert asked.returncode == 0, asked.stderr
        print(f"\n{asked.stdout.strip()}\n{_over_http(site.port, token, DATA / name, limit)}", flush=True)
    _print_answers(site, sets, sample)


def _print_answers(site: Instance, sets: Sequence[str], sample: Sequence[str]) -> None:
    """What answers hold and what is refused, also asked in other languages, and what rewriting a follow-up wins."""
    for name in sets:
        _print_evaluated(site, DATA / name, *sample)
    for name in sorted({"squad", "jaquad"} & set(sets)):
        _print_evaluated(site, DATA / name, "--translated")
    if {"squad", "sec10q"} <= set(sets):
        _print_evaluated(site, DATA, "--follow-ups")


def _print_evaluated(site: Instance, folder: Path, *options: str) -> None:
    evaluated = site.manage("evaluate_answers", str(folder), "--owner", OWNER, *options)
    assert evaluated.returncode == 0, evaluated.stderr
    print(f"\n{evaluated.stdout.strip()}", flush=True)


def _over_http(port: int, token: str, folder: Path, limit: int | None) -> str:
    """The measures of POST /api/v1/search, asked within the set's own documents."""
    from documents.evaluation import DEPTH, Score, load_questions
    from ragsite.accounts.models import User

    questions = load_questions(folder, User.objects.get(username=OWNER).pk, limit)
    documents = sorted({str(document) for question in questions for document in question.spans})
    score, times = Score(), []
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        for question in tqdm(questions, unit="question"):
            body = {"query": question.text, "limit": DEPTH, "documents": documents}
            started = time.perf_counter()
            response = client.post("/api/v1/search", json=body)
            times.append(time.perf_counter() - started)
            assert response.status_code == 200, json.dumps(body) + response.text
            score.ranks.append(question.first_hit([_hit(result) for result in response.json()["results"]]))
    p95 = statistics.quantiles(times, n=20)[-1]
    measures = "".join(f"{score.recall(k):8.4f}" for k in (1, 5, 10)) + f"{score.mrr:8.4f}{score.ndcg:9.4f}"
    return f"{'over HTTP':12}{measures}   p50 {statistics.median(times) * 1000:.1f} ms  p95 {p95 * 1000:.1f} ms"


def _hit(result: dict[str, Any]) -> Any:
    return SimpleNamespace(document_id=UUID(result["document"]), start=result["start"], end=result["end"])


if __name__ == "__main__":
    main()
