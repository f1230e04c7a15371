"""PostgreSQL's own pg_dump, pg_restore and psql, for the site's database."""

import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from django.db import connection
from psycopg2.extensions import make_dsn

from ragsite.embedded.postgres import BINARIES, MAJOR_VERSION
from ragsite.embedded.program import environment_without_secrets

BLOCK = 1 << 20


class DatabaseToolFailed(Exception):
    """A program of PostgreSQL's ended badly; the text is what it said."""


def server_major() -> int:
    """The major version of the site's PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0]) // 10_000


def _place(parameters: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Where the database is, as libpq's programs read it; the password apart, where no user of the machine reads it."""
    known = {name: value for name, value in parameters.items() if name not in {"cursor_factory", "password"} and value}
    access = {"PGPASSWORD": str(parameters["password"])} if parameters.get("password") else {}
    return f"--dbname={make_dsn(**known)}", {**environment_without_secrets(), **access, "LC_ALL": "C"}


def program(name: str, server_major: int) -> str:
    """The embedded one, or a newer one on the PATH where the server is newer: older ones refuse."""
    own = str(BINARIES / name)
    return own if server_major <= int(MAJOR_VERSION) else shutil.which(name) or own


def dump(target: Path, parameters: dict[str, Any], server_major: int, snapshot: str, empty: list[str]) -> None:
    """The database of a snapshot, in pg_dump's custom format; of the tables in ``empty`` no rows."""
    command = [program("pg_dump", server_major), "--format=custom", "--no-owner", "--no-privileges", "--no-comments"]
    command += [
        "--extension=vector",
        f"--snapshot={snapshot}",
        f"--file={target}",
        *(f"--exclude-table-data={table}" for table in empty),
    ]
    place, environment = _place(parameters)
    done = subprocess.run([*command, place], env=environment, capture_output=True, check=False)
    if done.returncode:
        raise DatabaseToolFailed(f"pg_dump: {_last_lines(done.stderr.splitlines())}")


def restore(source: Path, parameters: dict[str, Any], server_major: int, checks: str) -> None:
    """All of the dump or nothing: one transaction, committed when ``checks`` (SQL) has raised nothing.

    Through psql, because pgvector's settings may be written into functions by an ordinary user only once the session
    has loaded it.
    """
    command = [program("pg_restore", server_major), "--no-owner", "--no-privileges", "--no-comments", "--file=-"]
    with _psql(parameters, server_major) as psql:
        psql.write(b"BEGIN;\nCREATE EXTENSION IF NOT EXISTS vector;\nSELECT '[1]'::vector;\n")
        with subprocess.Popen([*command, str(source)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            said = _gathered(reader.stderr)
            shutil.copyfileobj(reader.stdout, psql, BLOCK)  # type: ignore[arg-type]
        if reader.returncode:
            raise DatabaseToolFailed(f"pg_restore: {_last_lines(said)}")
        psql.write(f"\n{checks}\nCOMMIT;\n".encode())


@contextmanager
def _psql(parameters: dict[str, Any], server_major: int) -> Iterator[IO[bytes]]:
    """What psql reads; it stops at the first error. Raises DatabaseToolFailed at the end of the block."""
    command = [program("psql", server_major), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    place, environment = _place(parameters)
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--file=-", place], env=environment, stdin=pipe, stderr=pipe) as psql:
        said, stdin = _gathered(psql.stderr), cast(IO[bytes], psql.stdin)
        try:
            yield stdin
            stdin.close()
        except BrokenPipeError:
            pass  # it has ended before, and says why
        except BaseException:
            psql.kill()  # without a COMMIT nothing of it stays
            raise
        finally:
            with suppress(BrokenPipeError):
                stdin.close()
    if psql.returncode:
        raise DatabaseToolFailed(f"psql: {_last_lines(said)}")


def _gathered(stream: IO[bytes] | None) -> deque[bytes]:
    """The last lines that a program says, read by a thread so that it never waits for us."""
    lines: deque[bytes] = deque(maxlen=20)
    threading.Thread(target=lambda: lines.extend(stream or ()), daemon=True).start()
    return lines


def _last_lines(said: Iterable[bytes]) -> str:
    lines = [line.decode(errors="replace").strip() for line in said if b"NOTICE" not in line]
    return " ".join(lines[-3:]) or "it ended without a word"
