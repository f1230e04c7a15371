"""Valkey servers of one's own: single, watched by Sentinels, in a cluster."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from ragsite.embedded.valkey import _binary
from tests.instance import free_port, until


class Valkey:
    """One server on a port of the loopback."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self.options = options
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        common = ("--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
        command = [str(part) for part in (_binary(), *common, *self.options)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert until(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None

    def answers(self) -> bool:
        with contextlib.suppress(RedisError), Redis(port=self.port, socket_timeout=1) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Sentinel(Valkey):
    """It keeps its configuration in a file of its own."""

    def __init__(self, folder: Path, primary: int) -> None:
        self.watched = primary
        super().__init__(folder)

    def start(self) -> None:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor site 127.0.0.1 {self.watched} 2",
            "sentinel down-after-milliseconds site 1000",
            "sentinel failover-timeout site 5000",
        ]
        file = self.folder / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([_binary(), file, "--sentinel"], stdout=subprocess.DEVNULL)
        assert until(self.answers)


class Watched:
    """A primary, its replica, and three Sentinels that know of each other."""

    def __init__(self, folder: Path) -> None:
        self.primary = Valkey(folder)
        self.replica = Valkey(folder, "--replicaof", f"127.0.0.1 {self.primary.port}")
        self.sentinels = [Sentinel(folder, self.primary.port) for _ in range(3)]
        assert until(self._is_whole)

    def _is_whole(self) -> bool:
        with Redis(port=self.sentinels[0].port) as client:
            state = client.sentinel_master("site")
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/site/0"

    def end(self) -> None:
        for server in (*self.sentinels, self.primary, self.replica):
            server.kill()


@contextlib.contextmanager
def clustered(folder: Path, nodes: int = 3) -> Iterator[list[Valkey]]:
    """A cluster without replicas."""
    servers: list[Valkey] = []
    buses = [free_port() for _ in range(nodes)]
    try:
        for bus in buses:
            servers.append(Valkey(folder, "--cluster-enabled", "yes", "--cluster-port", str(bus)))
        step = -(-16384 // nodes)
        for number, server in enumerate(servers):
            with Redis(port=server.port) as client:
                last = min(16384, (number + 1) * step) - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * step, last)
                client.execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port, buses[0])
        assert until(lambda: all(_is_up(server) for server in servers))
        yield servers
    finally:
        for server in servers:
            server.kill()


def _is_up(server: Valkey) -> bool:
    with Redis(port=server.port) as client:
        info = client.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"
