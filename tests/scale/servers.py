"""Valkey and PgBouncer, each on a port of the loopback."""

import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from redis import Redis
from redis.exceptions import RedisError

from ragsite.embedded.valkey import _binary as valkey_binary
from tests.instance import free_port, until
from tests.scale.processes import Process
from tests.scale.replica import Node

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
UNPRIVILEGED = "nobody"
POOL = """
[databases]
ragsite = host=127.0.0.1 port={primary} dbname=ragsite
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits, options
server_check_delay = 0
server_login_retry = 0.2
query_wait_timeout = 15
server_connect_timeout = 2
"""


class Valkey(Process):
    """Keeps nothing on disk: killed, it comes back empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ("--save", "", "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru", "--dir", str(folder))
        command = (str(valkey_binary()), "--port", str(self.port), "--bind", "127.0.0.1", *options)
        super().__init__("Valkey", command, folder / "valkey.log", self._answers)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


class PgBouncer(Process):
    """In transaction mode before the primary; ``point_at`` another server after a promotion."""

    def __init__(self, folder: Path, primary: Node) -> None:
        self.folder, self.port = folder, free_port()
        self.password = primary.home.secret("postgres_password")
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / "users.txt").write_text(f'"ragsite" "{self.password}"\n')
        self._write(primary)
        command = (str(PGBOUNCER), "-u", UNPRIVILEGED, str(folder / "pgbouncer.ini"))
        super().__init__("PgBouncer", command, folder / "pgbouncer.log", self._answers)

    @property
    def url(self) -> str:
        return f"postgres://ragsite:{self.password}@127.0.0.1:{self.port}/ragsite"

    def _write(self, primary: Node) -> None:
        text = POOL.format(primary=primary.port, port=self.port, folder=self.folder)
        (self.folder / "pgbouncer.ini").write_text(text)

    def point_at(self, primary: Node) -> None:
        self._write(primary)
        self.tell(signal.SIGHUP)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(*processes: Process) -> None:
    assert until(lambda: all(process.is_ready() for process in processes))
