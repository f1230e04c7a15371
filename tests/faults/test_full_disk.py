"""The disk is full: the site says so and goes on answering, loses nothing, and goes on when there is room again."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ragsite.layout import Layout
from tests.instance import Instance, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("full disk"),
    pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount"),
]
TEXT = "The keeper of the bridge measured the river in the year {number} and wrote it down. "


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=500m,mode=700", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this machine does not let root mount a file system")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def full_site(small_disk: Path, built_model: None, layout: Layout) -> Iterator[Instance]:
    data = small_disk / "var"
    data.mkdir(mode=0o700)
    (data / "models").symlink_to(layout.models_dir.resolve())
    instance = Instance(data, RAGSITE_LEASE_SECONDS="8", RAGSITE_WORKERS="2", RAGSITE_THROTTLE="off")
    try:
        yield instance.wait_until_ready()
    finally:
        instance.end()


@pytest.fixture(scope="module")
def client(full_site: Instance) -> Iterator[httpx.Client]:
    token = full_site.manage("create_token", "admin", "--name", "test").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{full_site.port}", headers=headers, timeout=60) as made:
        yield made


@contextmanager
def filled(disk: Path, left: int = 0) -> Iterator[None]:
    """No room but ``left`` bytes."""
    filler, block = disk / "filler", bytes(1 << 16)
    try:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(block)
            except OSError:
                pass
            if left:
                file.truncate(max(0, file.tell() - left))
        yield
    finally:
        filler.unlink()


def upload(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    return client.post("/api/v1/documents", files={"file": (name, content)})


def text(number: int, size: int) -> bytes:
    return (TEXT.format(number=number) * (size // len(TEXT) + 1)).encode()[:size]


def states(client: httpx.Client) -> dict[str, str]:
    try:
        results = client.get("/api/v1/documents?page_size=100").raise_for_status().json()["results"]
    except httpx.HTTPError:
        return {"": "away"}
    return {entry["id"]: entry["status"] for entry in results}


def all_processed(client: httpx.Client) -> bool:
    return set(states(client).values()) == {"processed"}


def leftovers(site: Instance) -> list[str]:
    return [path.name for path in Layout(site.folder).uploads_dir.iterdir()]


def test_an_upload_that_finds_no_room_is_refused_with_a_reason_and_leaves_nothing(
    small_disk: Path, full_site: Instance, client: httpx.Client
) -> None:
    with filled(small_disk, left=4 << 20):
        refused = upload(client, "large.txt", text(1, 12 << 20))
        assert (refused.status_code, refused.json()["code"]) == (507, "disk_full")
        assert leftovers(full_site) == []
        assert full_site.status("/healthz") == 200
        assert client.get("/api/v1/documents").status_code == 200
    assert upload(client, "small.txt", text(1, 2000)).status_code == 201
    assert until(lambda: all_processed(client), seconds=120)


def test_documents_in_work_wait_for_room_in_the_database_and_go_on(
    small_disk: Path, full_site: Instance, client: httpx.Client
) -> None:
    """Whatever runs out first: its tables, its log (then it stops and recovers when it can), or a scratch file."""
    accepted = [upload(client, f"{number}.txt", text(number, 150_000)).json()["id"] for number in range(10, 14)]
    with filled(small_disk):
        until(lambda: any_trouble(full_site), seconds=40)
        assert full_site.status("/healthz") == 200
        answer = client.get("/api/v1/documents")
        assert answer.status_code in {200, 503, 507}, answer.text
    assert until(lambda: all_processed(client), seconds=200), (states(client), full_site.lines[-3000:])
    assert set(accepted) <= set(states(client))
    audit = full_site.manage("shell", "-v0", "-c", "from tests.torture.audit import report; report()")
    assert '"wrong": []' in audit.stdout, audit.stdout + audit.stderr


def any_trouble(site: Instance) -> bool:
    return "No space left on device" in site.lines
