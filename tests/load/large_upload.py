"""Memory of the web processes while a large file is uploaded: `python -m tests.load.large_upload URL TOKEN`.

Sends a file over REST in one request and another in parts (tus), and prints the web processes' proportional set size
(PSS) before, at its highest, and after, with the bytes that they wrote to the disk.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.instance import command_line, descendants

BLOCK = 1 << 20
PART = 8 << 20


def text_blocks(megabytes: int, seed: int) -> Iterator[bytes]:
    """Text that is no two blocks alike and costs nothing to make; its extraction is refused by its size, on purpose."""
    letters = random.Random(seed)
    for _ in range(megabytes):
        line = b"%032x water is wet and the river is long\n" % letters.getrandbits(128)
        yield (line * (BLOCK // len(line) + 1))[:BLOCK]


def pss(pids: set[int]) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def written(pids: set[int]) -> int:
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return total


class Watch:
    """The highest PSS of processes while a block runs."""

    def __init__(self, pids: set[int]) -> None:
        self.pids, self.highest, self._ended = pids, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.highest = max(self.highest, pss(self.pids))

    def __enter__(self) -> "Watch":
        self.before, self.written, self.started = pss(self.pids), written(self.pids), time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.started
        self._ended.set()
        self._thread.join()
        self.after, self.written = pss(self.pids), written(self.pids) - self.written

    def __str__(self) -> str:
        figures = (
            f"PSS {self.before / 1024:.0f} MB before, {self.highest / 1024:.0f} highest, {self.after / 1024:.0f} after"
        )
        return f"{figures}; {self.written / 2**20:.0f} MB written; {self.seconds:.1f} s"


def web_pids(port: int) -> set[int]:
    """The gunicorn processes whose environment names this port."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if "-m gunicorn" in command_line(pid) and f"RAGSITE_PORT={port}".encode() in (folder / "environ").read_bytes():
            found |= {pid, *descendants(pid)}
    return found


def one_request(connection: http.client.HTTPConnection, token: str, megabytes: int, seed: int) -> tuple[int, str]:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="large.txt"\r\n\r\n'.encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + megabytes * BLOCK + len(tail)),
    }

    def body() -> Iterator[bytes]:
        yield head
        yield from text_blocks(megabytes, seed)
        yield tail

    connection.request("POST", "/api/v1/documents", body(), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()).get("id", "")


def in_parts(connection: http.client.HTTPConnection, token: str, megabytes: int, seed: int) -> tuple[int, str]:
    speaking = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}
    connection.request("POST", "/api/v1/uploads", headers={**speaking, "Upload-Length": str(megabytes * BLOCK)})
    answer = connection.getresponse()
    answer.read()
    where, offset, part = urlsplit(answer.headers["Location"]).path, 0, bytearray()
    for block in text_blocks(megabytes, seed):
        part += block
        if len(part) == PART or offset + len(part) == megabytes * BLOCK:
            sent = {**speaking, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            connection.request("PATCH", where, bytes(part), sent)
            answer = connection.getresponse()
            answer.read()
            offset, part = offset + len(part), bytearray()
    return answer.status, answer.headers.get("Upload-Document", "")


def same_bytes(connection: http.client.HTTPConnection, token: str, document: str, megabytes: int, seed: int) -> bool:
    wanted, got = hashlib.sha256(), hashlib.sha256()
    for block in text_blocks(megabytes, seed):
        wanted.update(block)
    connection.request("GET", f"/api/v1/documents/{document}/file", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    while block := answer.read(BLOCK):
        got.update(block)
    return wanted.digest() == got.digest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--megabytes", type=int, default=500)
    chosen = parser.parse_args()
    site = urlsplit(chosen.url)
    pids = web_pids(site.port or 80)
    connection = http.client.HTTPConnection(site.hostname or "127.0.0.1", site.port, timeout=300)
    for name, way in (("one request", one_request), ("in parts", in_parts)):
        seed = os.getpid() + len(name)
        with Watch(pids) as watch:
            status, document = way(connection, chosen.token, chosen.megabytes, seed)
        right = (
            "same bytes" if same_bytes(connection, chosen.token, document, chosen.megabytes, seed) else "OTHER BYTES"
        )
        print(f"{chosen.megabytes} MB, {name}: {status}, {right}; {watch}")
        connection.request(
            "DELETE", f"/api/v1/documents/{document}", headers={"Authorization": f"Bearer {chosen.token}"}
        )
        connection.getresponse().read()


if __name__ == "__main__":
    main()
