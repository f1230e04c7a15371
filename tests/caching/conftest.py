"""Kinds of values for the tests, a row that they are made of, and a Valkey of one's own to maltreat."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from documents.models import Collection
from ragsite.caching import BYTES, Dependency, Keyspace, epoch, protocol
from ragsite.caching.protocol import Circuit
from ragsite.embedded.valkey import _binary

THING = Dependency("test-thing", ("owner",), "The tests.")
VALUES: Keyspace[Any] = Keyspace(
    "test-values", {"owner": int, "name": str}, "Of the tests.", timedelta(minutes=1), (THING,)
)
PURE: Keyspace[Any] = Keyspace("test-pure", {"name": str}, "Of the tests.", timedelta(minutes=1))
RAW: Keyspace[bytes] = Keyspace("test-raw", {"name": str}, "Of the tests.", timedelta(minutes=1), codec=BYTES)


@pytest.fixture(autouse=True)
def fresh(_computed_anew: None, settings: Any) -> Iterator[None]:
    """Nothing that a test has seen of the cache's state is believed by the next one."""
    settings.CACHES_OFF = set()
    protocol.circuit.reset()
    epoch.forget()
    yield
    protocol.circuit.reset()
    epoch.forget()


@dataclass
class Valkey:
    """A server that may be stopped, frozen and filled."""

    folder: Path
    memory: str = "0"
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.folder]
        full = ["--maxmemory", self.memory, "--maxmemory-policy", "volatile-lru"]
        arguments = [str(part) for part in [_binary(), *options, *full]]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not _answers(self.socket):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.socket.unlink(missing_ok=True)
            self.process = None

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)


def _answers(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as end:
        return end.connect_ex(str(path)) == 0


@pytest.fixture
def use_server(settings: Any) -> Iterator[Callable[[str], None]]:
    """``use_server(url)``: the site's cache, sessions and throttles are there from now on."""

    def use(url: str) -> None:
        settings.CACHE_URL = url
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": url}}
        _forget_clients()

    yield use
    _forget_clients()


def _forget_clients() -> None:
    protocol.redis.cache_clear()
    protocol._script.cache_clear()
    with contextlib.suppress(AttributeError):
        del caches["default"]


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, use_server: Callable[[str], None]) -> Iterator[Valkey]:
    server = Valkey(Path(tmp_path_factory.mktemp("v")))
    server.start()
    use_server(server.url)
    yield server
    server.stop()


class SlowWay:
    """Forwards to a Unix socket, each answer late."""

    def __init__(self, target: Path, path: Path, seconds: float) -> None:
        self.path, self.seconds, self._target = path, seconds, target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._target))
            threading.Thread(target=self._forward, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(far, near, True), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, late: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                time.sleep(self.seconds if late else 0)
                sink.sendall(block)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def slow_valkey(
    own_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory, use_server: Callable[[str], None]
) -> Iterator[SlowWay]:
    """A server whose answers take 100 ms."""
    way = SlowWay(own_valkey.socket, Path(tmp_path_factory.mktemp("s")) / "slow.sock", 0.1)
    use_server(f"unix://{way.path}")
    yield way
    way.close()


@dataclass
class Counted:
    """A number in the database, changed as services change things."""

    row: Collection
    reads: int = 0

    @property
    def thing(self) -> str:
        return THING(owner=self.row.owner_id)

    def now(self) -> int:
        self.reads += 1
        return int(Collection.objects.values_list("instructions", flat=True).get(pk=self.row.pk))

    def write(self, number: int) -> None:
        Collection.objects.filter(pk=self.row.pk).update(instructions=str(number))


@pytest.fixture
def number(transactional_db: None) -> Counted:
    from ragsite.accounts.models import User

    owner = User.objects.create_user(f"owner{os.getpid()}", password="x")
    return Counted(Collection.objects.create(owner=owner, name="number", instructions="1"))


@pytest.fixture
def circuit() -> Circuit:
    return protocol.circuit
