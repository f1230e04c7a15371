"""The site behind Debian's PgBouncer in transaction mode: 1,000 clients on 20 server connections, and nothing leaks."""

import contextlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg2
import pytest

from ragsite.embedded.identity import postgres_identity
from ragsite.embedded.postgres import PostgresServer
from ragsite.embedded.services import Service, running
from ragsite.layout import PROJECT_DIR, Layout
from tests.instance import Instance, free_port, until

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CLIENTS, SERVERS, THREADS = 1000, 20, 40
CONFIGURATION = """
[databases]
ragsite = host={sockets} port=5432 dbname=ragsite
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
admin_users = ragsite
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 1500
query_wait_timeout = 60
"""
TRACKED = {"application_name", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"}
"""What PgBouncer itself sets again for each client that has set it."""
LEFT = """
SELECT 'setting ' || name FROM pg_settings WHERE source = 'session' AND name <> ALL (%s)
UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements
UNION ALL SELECT 'cursor ' || name FROM pg_cursors
UNION ALL SELECT 'listens to ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


@pytest.fixture(scope="module")
def pool(built_model: None, layout: Layout) -> Iterator[tuple[Layout, str]]:
    """A PostgreSQL behind a PgBouncer: its layout, and the pooler's URL."""
    with tempfile.TemporaryDirectory(prefix="ragsite-") as name:
        home, port = Layout(Path(name) / "server"), free_port()
        home.create()
        server = PostgresServer(home, {})
        server.initialise()
        with running([Service(server.program(), server.is_ready)], home.run_dir / "log"):
            url = f"postgres://ragsite:{home.secret('postgres_password')}@127.0.0.1:{port}/ragsite"
            with _pgbouncer(home, Path(name), port):
                yield home, url


@contextlib.contextmanager
def _pgbouncer(home: Layout, folder: Path, port: int) -> Iterator[None]:
    text = CONFIGURATION.format(sockets=home.postgres_socket_dir, port=port, folder=folder, servers=SERVERS)
    (folder / "pgbouncer.ini").write_text(text)
    (folder / "users.txt").write_text(f'"ragsite" "{home.secret("postgres_password")}"\n')
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [PGBOUNCER, str(folder / "pgbouncer.ini")], stderr=log, preexec_fn=postgres_identity().assume
        )
        try:
            assert until(lambda: "process up" in (folder / "pgbouncer.log").read_text())
            yield
        finally:
            process.terminate()
            process.wait()


class Crowd(threading.Thread):
    """Clients that hold their connections and use them in short transactions, as web processes do."""

    def __init__(self, url: str, clients: int) -> None:
        super().__init__(daemon=True)
        self.url, self.clients, self.open, self.done, self.faults = url, clients, 0, 0, []
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            self._use([psycopg2.connect(self.url) for _ in range(self.clients)])
        except Exception as error:
            self.faults.append(error)

    def _use(self, connections) -> None:
        self.open = len(connections)
        while not self.stop.is_set():
            for connection in connections:
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM documents_document WHERE owner_id = 1")
                    cursor.execute("SELECT count(*) FROM chat_conversation WHERE owner_id = 1")
                self.done += 1
                time.sleep(0.005)
        for connection in connections:
            connection.close()


def left_behind(url: str) -> list[str]:
    """What any of the server connections remembers of who used it: all are held at once, and asked."""
    found, held = [], [psycopg2.connect(url) for _ in range(SERVERS)]
    pids = set()
    for connection in held:
        with connection.cursor() as cursor:  # begins a transaction, which keeps the server connection
            cursor.execute("SELECT pg_backend_pid()")
            pids.add(cursor.fetchone()[0])
            cursor.execute(LEFT, [list(TRACKED)])
            found += [row[0] for row in cursor.fetchall()]
    for connection in held:
        connection.rollback()
        connection.close()
    assert len(pids) == SERVERS
    return found


def pools(url: str) -> dict[str, int]:
    """Clients and server connections, as PgBouncer counts them."""
    admin = psycopg2.connect(url.rpartition("/")[0] + "/pgbouncer")
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    admin.close()
    row = next(row for row in rows if row["database"] == "ragsite")
    clients = sum(row[name] for name in names if name.startswith("cl_") and "cancel" not in name)
    return {"clients": clients, "servers": sum(row[name] for name in names if name.startswith("sv_"))}


@pytest.fixture(scope="module")
def site(pool: tuple[Layout, str], layout: Layout) -> Iterator[Instance]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        (Path(folder) / "models").symlink_to(layout.models_dir.resolve())
        own = {"DATABASE_URL": pool[1], "DATABASE_DIRECT_URL": pool[0].database_url, "RAGSITE_THROTTLE": "off"}
        instance = Instance(Path(folder), **own)
        try:
            yield instance.wait_until_ready()
        finally:
            instance.end()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer: apt-get install pgbouncer")
def test_a_thousand_clients_share_twenty_server_connections(pool, site):
    _, url = pool
    assert left_behind(url) == []
    crowds = [Crowd(url, CLIENTS // THREADS) for _ in range(THREADS)]
    for crowd in crowds:
        crowd.start()
    assert until(lambda: sum(crowd.open for crowd in crowds) == CLIENTS or any(c.faults for c in crowds), 300)
    before = sum(crowd.done for crowd in crowds)
    use_the_site(site)
    seen = pools(url)
    for crowd in crowds:
        crowd.stop.set()
    for crowd in crowds:
        crowd.join()
    assert [fault for crowd in crowds for fault in crowd.faults] == []
    assert sum(crowd.done for crowd in crowds) > before, "the crowd did nothing while the site was used"
    assert seen["clients"] >= CLIENTS
    assert seen["servers"] <= SERVERS
    assert left_behind(url) == []
    assert "ERROR" not in site.lines, site.lines


def use_the_site(site: Instance) -> None:
    """Sign-in, upload, processing, search and a streamed answer; readiness too."""
    where = f"http://127.0.0.1:{site.port}"
    password = re.search(r"with the password (\S+)", site.lines)[1]
    with httpx.Client(base_url=where, timeout=120, follow_redirects=True) as pages:
        pages.get("/accounts/login/")
        form = {"login": "admin", "password": password, "csrfmiddlewaretoken": pages.cookies["csrftoken"]}
        assert pages.post("/accounts/login/", data=form).status_code == 200
        assert "sessionid" in pages.cookies
        assert pages.get("/library/").status_code == 200
    token = site.manage("create_token", "admin", "--name", "test").stdout.strip()
    with httpx.Client(base_url=where, timeout=120, headers={"Authorization": f"Bearer {token}"}) as http:
        files = {"file": ("alpaca.txt", b"The alpaca eats grass. " * 40)}
        document = http.post("/api/v1/documents", files=files).raise_for_status().json()
        place = f"/api/v1/documents/{document['id']}"
        assert until(lambda: http.get(place).json()["status"] in {"processed", "failed"}, 300)
        assert http.get(place).json()["status"] == "processed"
        found = http.post("/api/v1/search", json={"query": "What does the alpaca eat?"}).json()["results"]
        assert found[0]["document"] == document["id"]
        talk = http.post("/api/v1/conversations", json={}).json()
        ask = {"content": "What does the alpaca eat?"}
        accept = {"Accept": "text/event-stream"}
        with http.stream("POST", f"/api/v1/conversations/{talk['id']}/messages", json=ask, headers=accept) as stream:
            lines = list(stream.iter_lines())
        assert "event: done" in lines
        ready = http.get("/readyz").json()
        assert ready["parts"]["database"]["ok"], ready
        assert ready["parts"]["migrations"]["ok"], ready


@pytest.mark.slow
@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer: apt-get install pgbouncer")
def test_what_leaks_is_found(pool, site):
    """The check above sees each kind of thing that it looks for."""
    leaks = ("SET work_mem = '5MB'", "SELECT pg_advisory_lock(1)", "PREPARE p AS SELECT 1", "LISTEN news")
    undone = ("RESET work_mem", "SELECT pg_advisory_unlock_all()", "DEALLOCATE ALL", "UNLISTEN *", "DISCARD TEMP")
    client = psycopg2.connect(pool[1])
    client.autocommit = True
    with client.cursor() as cursor:
        for statement in (*leaks, "CREATE TEMPORARY TABLE t (a int)"):
            cursor.execute(statement)
        found = set(left_behind(pool[1]))
        for _ in range(SERVERS * 3):  # wherever it was
            for statement in undone:
                cursor.execute(statement)
    client.close()
    assert found >= {"setting work_mem", "advisory lock", "prepared p", "listens to news", "temporary t"}


STATE = re.compile(
    r"pg_advisory_lock|pg_try_advisory_lock|pg_advisory_unlock|\bLISTEN [a-z]|\bPREPARE [a-z]|CREATE TEMP|"
    r"set_config\([^)]*false\)|\"SET (?!LOCAL|DEFAULT|NULL)[a-z_.]+ =|\bcursor\(name=",
)
ON_THE_SERVER_ITSELF = {
    "chat/management/commands/seed.py",  # manage.py seed: in NEED_A_SESSION
    "ragsite/partitioning/splitting.py",  # manage.py partitions: the same
    "ragsite/backup/making.py",  # manage.py backup: a cursor of one transaction
}


def test_nothing_keeps_state_in_its_session():
    """Behind a pooler the next statement may be another server connection's."""
    places = [
        path for app in ("chat", "documents", "processing", "ragsite") for path in (PROJECT_DIR / app).rglob("*.py")
    ]
    found = {str(path.relative_to(PROJECT_DIR)) for path in places if STATE.search(path.read_text())}
    assert found <= ON_THE_SERVER_ITSELF


@pytest.mark.parametrize("command", ["backup", "restore", "migrate", "seed", "partitions"])
def test_commands_that_need_a_session_go_to_the_server_itself(command, monkeypatch):
    import os

    from ragsite.databases import go_direct

    monkeypatch.setenv("DATABASE_URL", "postgres://pooler/x")
    monkeypatch.setenv("DATABASE_DIRECT_URL", "postgres://server/x")
    go_direct("ask")
    assert os.environ["DATABASE_URL"] == "postgres://pooler/x"
    go_direct(command)
    assert os.environ["DATABASE_URL"] == "postgres://server/x"
