"""A backup of a site that takes uploads and deletions meanwhile, restored into an empty place that then serves."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx
import pytest

from ragsite.layout import PROJECT_DIR
from tests.instance import Instance, environment_for, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROUNDS = 3


class People(threading.Thread):
    """Somebody uploads and deletes without a pause."""

    def __init__(self, site, token):
        super().__init__(daemon=True)
        self.client = client(site, token)
        self.sent, self.stop, self.faults = {}, threading.Event(), []

    def run(self):
        for number in itertools.count():
            if self.stop.is_set():
                return
            content = f"Note {number}. The number of this note is number{number}, and {'word ' * 200} ends it.".encode()
            answer = self.client.post("/api/v1/documents", files={"file": (f"n{number}.txt", content)})
            if answer.status_code != 201:
                self.faults.append(answer.text)
                continue
            self.sent[answer.json()["id"]] = hashlib.sha256(content).hexdigest()
            if number % 2:
                self.client.delete(f"/api/v1/documents/{answer.json()['id']}")


def client(site, token):
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=60)


def documents(http):
    url, found = "/api/v1/documents?page_size=100", []
    while url:
        page = http.get(url).json()
        found += page["results"]
        url = page["next"]
    return found


@pytest.fixture
def place(built_model, layout):
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        for name in ("one", "two"):
            (Path(folder) / name).mkdir(mode=0o700)
            (Path(folder) / name / "models").symlink_to(layout.models_dir.resolve())
        yield Path(folder)


def test_a_live_site_is_backed_up_and_serves_again_from_an_empty_place(place):
    site = Instance(place / "one", RAGSITE_THROTTLE="off").wait_until_ready()
    try:
        token = site.manage("create_token", "admin", "--name", "test").stdout.strip()
        people = People(site, token)
        people.start()
        assert until(lambda: len(people.sent) > 20)
        for number in range(ROUNDS):
            before = len(people.sent)
            made = site.manage("backup", str(place / f"backup{number}"))
            assert made.returncode == 0, made.stderr
            assert "does not have" not in made.stderr
            assert len(people.sent) > before, "nothing happened meanwhile: the test shows nothing"
        people.stop.set()
        people.join()
        assert people.faults == []
    finally:
        site.end()
    source = place / f"backup{ROUNDS - 1}"
    manifest = json.loads((source / "manifest.json").read_text())
    assert manifest["files"] == manifest["rows"]["documents_document"] > 10
    _interrupt_a_restore(place, source)
    _restore_and_compare(place, source, token, people, manifest)


def _interrupt_a_restore(place, source):
    """Killed while the database takes the rows: nothing of it is there."""
    environment = environment_for(place / "two", free_port())
    process = subprocess.Popen([sys.executable, "manage.py", "restore", str(source)], cwd=PROJECT_DIR, env=environment)
    assert until(lambda: list((place / "two" / "files").rglob("*/*/*")) or process.poll() is not None)
    process.kill()
    process.wait()


def _restore_and_compare(place, source, token, people, manifest):
    other = Instance.__new__(Instance)
    other.environment = environment_for(place / "two", free_port())
    done = other.manage("restore", str(source))
    assert done.returncode == 0, done.stdout + done.stderr
    assert other.manage("restore", str(source)).returncode == 1
    site = Instance(place / "two", RAGSITE_THROTTLE="off").wait_until_ready()
    try:
        with client(site, token) as http:  # the token of the first site
            found = documents(http)
            assert len(found) == manifest["rows"]["documents_document"]
            for document in found:
                content = http.get(f"/api/v1/documents/{document['id']}/file").content
                assert hashlib.sha256(content).hexdigest() == people.sent[document["id"]]
            assert until(lambda: all(one["status"] == "processed" for one in documents(http)), seconds=300)
            word = found[0]["filename"].replace("n", "number").removesuffix(".txt")
            results = http.post("/api/v1/search", json={"query": word}).json()["results"]
            assert results[0]["document"] == found[0]["id"]
    finally:
        site.end()


def test_a_full_disk_is_told_and_leaves_nothing(place):
    """A real one: a small tmpfs."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    disk = place / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        site = Instance.__new__(Instance)
        site.environment = environment_for(place / "one", free_port())
        assert site.manage("create_token", "a", "--create", "--name", "x").returncode == 0
        (place / "big.txt").write_text("word " * 100_000)
        loaded = site.manage("ingest", str(place / "big.txt"), "--owner", "a")
        assert loaded.returncode == 0, loaded.stderr
        done = site.manage("backup", str(disk / "b"))
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=False)
