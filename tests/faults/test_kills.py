"""Every process of the running site is killed in mid-ingest: all is processed in the end, and nothing twice."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from ragsite.layout import PROJECT_DIR
from tests.instance import PROCESSES, Instance, until

SHARED = PROJECT_DIR.parent / "shared" / "data"
PARTS = ("worker", "web", "valkey", "postgres", "encoder", "sandbox")
IN_WORK = {"uploaded", "extracting", "chunking", "embedding"}
PATIENCE = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(PATIENCE + 120),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

AUDIT = """
import json
from documents.models import Chunk, Document, Embedding
wrong = []
for d in Document.objects.all():
    chunks = list(Chunk.objects.of(d).order_by("position").values_list("position", flat=True))
    parts = {}
    rows = Embedding.objects.filter(owner=d.owner_id, document_id=d.id).order_by("position", "part")
    for position, part in rows.values_list("position", "part"):
        parts.setdefault(position, []).append(part)
    wanted = list(range(d.chunk_count if d.status == "processed" else 0))
    gapless = all(numbers == list(range(len(numbers))) for numbers in parts.values())
    if chunks != wanted or list(parts) != wanted or not gapless or (d.status == "processed") != d.searchable:
        wrong.append([d.filename, d.status, d.chunk_count, len(chunks), parts])
print(json.dumps(wrong))
"""


def made_files(folder: Path) -> list[Path]:
    """Documents for a machine without the shared data."""
    paths = []
    for number in range(60):
        path = folder / f"made-{number}.md"
        sections = (f"## Part {part}\n\n" + f"Fact {number} {part} holds. " * 60 for part in range(4))
        path.write_text(f"# Document {number}\n\n" + "\n\n".join(sections))
        paths.append(path)
    return paths


def files(folder: Path) -> list[Path]:
    if not SHARED.is_dir():
        return made_files(folder)
    return sorted(path for kind in ("formats", "squad", "jaquad") for path in (SHARED / kind).rglob("*.*"))


def upload(client: httpx.Client, path: Path) -> bool:
    with path.open("rb") as file:
        response = client.post("/api/v1/documents", files={"file": (path.name, file)})
    assert response.status_code in {200, 201, 415, 422}, response.text
    return response.status_code == 201


def states(client: httpx.Client) -> list[str] | None:
    """The status of every document; None while the site is coming back."""
    found, url = [], "/api/v1/documents?page_size=100"
    try:
        while url:
            page = client.get(url).raise_for_status().json()
            found += [entry["status"] for entry in page["results"]]
            url = page["next"]
    except httpx.HTTPError:
        return None
    return found


def kill(site: Instance, name: str) -> None:
    assert until(lambda: site.pid_of(name)), site.lines
    os.kill(site.pid_of(name), signal.SIGKILL)


def test_all_is_processed_once_whatever_was_killed(site: Instance, client: httpx.Client, tmp_path: Path) -> None:
    accepted = sum(upload(client, path) for path in files(tmp_path))
    before = states(client)
    assert before is not None
    assert IN_WORK & set(before), "nothing is left to be interrupted"
    for name in PARTS:
        assert name in PROCESSES
        kill(site, name)
        time.sleep(2)
    deadline = time.monotonic() + PATIENCE
    while (found := states(client)) is None or IN_WORK & set(found):
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert len(found) == accepted
    assert set(found) <= {"processed", "failed"}
    audit = site.manage("shell", "-v0", "-c", AUDIT)
    assert json.loads(audit.stdout) == [], audit.stderr
