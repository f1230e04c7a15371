"""What vectors by hash save: a new account's texts are embedded, then all are processed anew and nothing is.

    python -m tests.load.known_vectors [--texts 30]

Counts the vectors (documents_embedding) that stand after each, and the processor time of the encoder's process.
"""

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2

from ragsite.encoder.models import DEFAULT_MODEL
from ragsite.layout import Layout
from tests.load.corpus import texts
from tests.load.ingest import Site, running
from tests.load.process_tree import cpu_seconds

VECTORS = """
SELECT count(*) FROM documents_embedding e JOIN accounts_user u ON u.id = e.owner_id WHERE u.username = %s
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.known_vectors")
    parser.add_argument("--texts", type=int, default=30, help="of 10 KB")
    count = parser.parse_args().texts
    with tempfile.TemporaryDirectory(prefix="ragsite-bench-") as scratch:
        (files := Path(scratch) / "files").mkdir()
        (folder := Path(scratch) / "site").mkdir()
        with running(DEFAULT_MODEL, folder) as site:
            _measure(site, texts(files, count))


def _measure(site: Site, files: list[Path]) -> None:
    idle = _encoder(site)
    owner, _ = site.ingest("new", files)
    embedded, vectors = _encoder(site) - idle, _vectors(site, owner)
    print(f"embedded:   {vectors:,} vectors, {embedded:.2f} s of the encoder, {embedded * 1000 / vectors:.1f} ms each")
    before = _encoder(site)
    _process_anew(site, owner, len(files))
    spent = _encoder(site) - before
    print(f"taken over: {_vectors(site, owner):,} vectors, {spent:.2f} s of the encoder")


def _encoder(site: Site) -> float:
    return cpu_seconds(site.parts()["encoder"])


def _vectors(site: Site, owner: str) -> int:
    with closing(psycopg2.connect(Layout(site.instance.folder).database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute(VECTORS, [owner])
        return int(cursor.fetchone()[0])


def _process_anew(site: Site, owner: str, count: int) -> None:
    headers = {"Authorization": f"Bearer {site.token(owner)}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=60, trust_env=False) as client:
        listed = client.get("/api/v1/documents", params={"page_size": 100}).raise_for_status().json()["results"]
        assert len(listed) == count, "as many as a page of the list holds"
        for document in listed:
            client.post(f"/api/v1/documents/{document['id']}/reprocess").raise_for_status()
    site._wait(owner, count, time.monotonic())


if __name__ == "__main__":
    main()
