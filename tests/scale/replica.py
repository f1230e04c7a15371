"""A PostgreSQL and streaming replicas of it, of the embedded server's own binaries, on ports of the loopback.

``primary = Node.initialised(folder, port)``, ``primary.start()``, ``replica = primary.replica(other_folder, port)``,
``replica.start()``; a site is given ``address(primary, replica)`` as DATABASE_URL and ``replica.url`` in
DATABASE_REPLICA_URLS. Every node ends with the process that has started it.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg2

from ragsite.embedded.identity import adopt, postgres_identity
from ragsite.embedded.postgres import BINARIES, PostgresServer
from ragsite.embedded.program import Program, environment_without_secrets
from ragsite.layout import Layout
from tests.instance import until

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "jit": "off",
    "random_page_cost": "1.1",
    "wal_keep_size": "256MB",  # a replica that was away for a while finds what it missed
    "wal_retrieve_retry_interval": "200ms",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}
_HBA = "host all all 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 scram-sha-256\n"


class Node:
    """One server; ``home`` holds the passwords, which are those of its primary."""

    def __init__(self, folder: Path, port: int, home: Layout) -> None:
        self.folder, self.port, self.home = folder, port, home
        self.data = folder / "postgres"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def initialised(cls, folder: Path, port: int) -> "Node":
        """A new primary with the site's role and an empty database ``ragsite``."""
        home = Layout(folder)
        home.create()
        PostgresServer(home, {"fsync": "off"}).initialise()
        (home.postgres_dir / "pg_hba.conf").write_text(_HBA)
        return cls(folder, port, home)

    def replica(self, folder: Path, port: int) -> "Node":
        """A copy of this running server, by pg_basebackup, that will follow it."""
        made = Node(folder, port, self.home)
        shutil.rmtree(made.data, ignore_errors=True)
        made.data.mkdir(mode=0o700, parents=True)
        adopt(made.data, postgres_identity().owner)
        source = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        _run("pg_basebackup", "-D", str(made.data), "-R", "-X", "stream", "-c", "fast", "--no-sync", *source,
             password=self._superuser_password)  # fmt: skip
        return made

    @property
    def url(self) -> str:
        """As the site's role."""
        return address(self)

    @property
    def _superuser_password(self) -> str:
        return self.home.secret("postgres_superuser_password")

    def start(self, **settings: str) -> "Node":
        options = [part for name, value in (SETTINGS | settings).items() for part in ("-c", f"{name}={value}")]
        program = Program(
            f"postgres on port {self.port}",
            (str(BINARIES / "postgres"), "-D", str(self.data), "-p", str(self.port), *options),
            needs=(),
            folder=self.data,
            orphan_signal=signal.SIGINT,
            assume=postgres_identity().assume,
        )
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = program.start(log)
        assert until(self.answers), (self.folder / "postgres.log").read_text(errors="replace")[-2000:]
        return self

    def answers(self) -> bool:
        try:
            self.query("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As the superuser, on a connection of its own; no rows of a statement that has none."""
        database = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self._superuser_password, dbname="ragsite",
            connect_timeout=5,
        )  # fmt: skip
        try:
            database.autocommit = True
            with database.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            database.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it to all processes of this server."""
        assert self.process
        for pid in [self.process.pid, *children(self.process.pid)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """As a machine that loses its power: all its processes at once."""
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """In order: clients are cut off, replicas get all."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self._wait()

    def _wait(self) -> None:
        assert self.process
        self.process.wait(60)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def promote(self) -> None:
        """A replica becomes a primary; returns when it takes writes."""
        _run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def pause(self) -> None:
        """A replica goes on receiving and stops replaying: it lags."""
        self.query("SELECT pg_wal_replay_pause()")
        assert until(lambda: self.query("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])

    def resume(self) -> None:
        self.query("SELECT pg_wal_replay_resume()")

    def has_caught_up_with(self, primary: "Node") -> bool:
        """Whether it has replayed all that the primary has written so far."""
        ((written,),) = primary.query("SELECT pg_current_wal_insert_lsn()")
        return self.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written) == [(True,)]

    def set(self, **settings: str) -> None:
        """Change settings that need no restart, until they are changed again."""
        for name, value in settings.items():
            self.query(f"ALTER SYSTEM SET {name} = '{value}'")
        self.query("SELECT pg_reload_conf()")
        for name, value in settings.items():
            assert until(lambda name=name, value=value: self.query(f"SHOW {name}") == [(value,)]), name  # type: ignore[misc]


def address(*nodes: Node) -> str:
    """The URL of whichever of these takes writes, as the site's role; of one node, that one whatever it is."""
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    url = f"postgres://ragsite:{nodes[0].home.secret('postgres_password')}@{hosts}/ragsite"
    return f"{url}?target_session_attrs=read-write" if len(nodes) > 1 else url


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _run(program: str, *arguments: str, password: str = "") -> None:
    done = subprocess.run(
        [str(BINARIES / program), *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        env={**environment_without_secrets(), "LC_ALL": "C", "TZ": "UTC", "PGPASSWORD": password},
        preexec_fn=postgres_identity().assume,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
