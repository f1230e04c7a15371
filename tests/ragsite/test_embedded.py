"""PostgreSQL and Valkey from their wheels: made, started, found damaged, run as root and as others."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from ragsite.embedded import CannotStart, identity, postgres, services, services_for
from ragsite.embedded.engines import encoder_program
from ragsite.embedded.identity import Identity
from ragsite.embedded.lock import Holder, InstanceLock, counted_as_user
from ragsite.embedded.postgres import PostgresServer, machine_settings
from ragsite.embedded.program import environment_without_secrets
from ragsite.embedded.services import initialise, running, servers, stop
from ragsite.embedded.valkey import valkey_program
from ragsite.layout import PROJECT_DIR, Layout

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start things as another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="user namespaces are Linux's")
FAST = {"fsync": "off", "shared_buffers": "32MB"}


@pytest.fixture(autouse=True)
def _no_servers_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def instance() -> Iterator[Layout]:
    """A data folder of its own, below a folder that nobody else can enter."""
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        made = Layout(Path(folder) / "var")
        made.create()
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Layout]:
    """A data folder with a cluster in it, for tests that only read it."""
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        made = Layout(Path(folder) / "var")
        made.create()
        PostgresServer(made, FAST).initialise()
        yield made


def ask(layout: Layout, statement: str) -> list[tuple]:
    with closing(psycopg2.connect(layout.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def run_both(layout: Layout):
    return running(servers(layout, FAST), layout.run_dir / "servers.log")


def until(condition: Callable[[], bool]) -> bool:
    """Whether the condition came true in time; generous, because the machine may be busy."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_database_has_vectors_unicode_and_a_role_without_superuser_rights(cluster: Layout) -> None:
    with run_both(cluster):
        assert ask(cluster, "SELECT '[1,2,3]'::halfvec(3) <-> '[1,2,3]', lower('ÄÖ')") == [(0.0, "äö")]
        assert ask(cluster, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [
            (False, True)
        ]
        assert ask(cluster, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'ragsite'") == [
            ("UTF8",)
        ]


def test_the_servers_listen_on_their_sockets_only_and_want_their_passwords(cluster: Layout) -> None:
    with run_both(cluster):
        assert ask(cluster, "SHOW listen_addresses") == [("",)]
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=str(cluster.postgres_socket_dir), user="ragsite", password="wrong", dbname="ragsite")
        with pytest.raises(redis.AuthenticationError):
            redis.from_url(f"unix://{cluster.valkey_socket}").ping()
        assert redis.from_url(cluster.redis_url).config_get("port") == {"port": "0"}


def test_the_log_tells_what_failed_without_what_people_have_written(cluster: Layout) -> None:
    log = cluster.run_dir / "servers.log"
    with run_both(cluster):
        with pytest.raises(psycopg2.errors.NotNullViolation):
            ask(cluster, "CREATE TEMP TABLE t (a text, b text NOT NULL); INSERT INTO t VALUES ('a secret text', NULL)")
        assert until(lambda: "violates not-null constraint" in log.read_text())
    assert "a secret text" not in log.read_text()


def test_a_data_folder_that_was_there_is_closed_to_others(instance: Layout) -> None:
    instance.data_dir.chmod(0o755)
    instance.create()
    assert instance.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_meant_for_all_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    Layout(tmp_path).create()
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_no_password_can_be_read_from_a_command_line(cluster: Layout) -> None:
    arguments = [service.program.argv for service in servers(cluster)]
    secrets = {cluster.secret(name) for name in ("postgres_password", "valkey_password")}
    assert not [text for argv in arguments for text in argv if any(secret in text for secret in secrets)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["sandbox", "encoder", "valkey", "postgres"])
def test_no_secret_is_in_the_environment_of_a_service(
    cluster: Layout, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("LLM_API_KEY", "EMBEDDING_API_KEY", "RAGSITE_SECRET_KEY", "EMAIL_URL", "CACHE_URL", "BROKER_URL"):
        monkeypatch.setenv(variable, "hush-hush")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    secrets = [path.read_text().strip() for path in cluster.secrets_dir.iterdir()]
    programs = {one.program.name: one.program for one in servers(cluster) + services.engines(cluster)}
    process = programs[name].start(subprocess.DEVNULL)
    try:
        handed_on = Path(f"/proc/{process.pid}/environ").read_bytes().decode()
    finally:
        stop(programs[name], process)
    assert "PATH=" in handed_on
    assert "ORT_DISABLE_TELEMETRY=1" in handed_on
    assert not [secret for secret in ("hush-hush", *secrets) if secret in handed_on]


def test_the_encoder_is_told_its_model_and_where_it_lies(cluster: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_MODEL", "minilm")
    handed_on = environment_without_secrets(*encoder_program(cluster).needs)
    assert handed_on["EMBEDDING_MODEL"] == "minilm"
    assert handed_on["RAGSITE_DATA_DIR"] == os.environ["RAGSITE_DATA_DIR"]


def test_a_cluster_is_there_whole_or_not_at_all(instance: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer(instance, FAST)
    with monkeypatch.context() as patch:
        patch.setattr(PostgresServer, "_first_statements", lambda self: ["CREATE NONSENSE"])
        with pytest.raises(CannotStart, match="NONSENSE"):
            server.initialise()
    assert not server.is_initialised
    server.initialise()
    with run_both(instance):
        assert ask(instance, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("missing", ["PG_VERSION", "global/pg_control", "base"])
def test_a_damaged_data_folder_is_told_and_left_as_it_is(instance: Layout, missing: str) -> None:
    (instance.postgres_dir / "global").mkdir(parents=True)
    (instance.postgres_dir / "base").mkdir()
    (instance.postgres_dir / "PG_VERSION").write_text("18\n")
    (instance.postgres_dir / "global" / "pg_control").touch()
    path = instance.postgres_dir / missing
    path.rmdir() if path.is_dir() else path.unlink()
    before = sorted(instance.postgres_dir.rglob("*"))
    with pytest.raises(CannotStart, match=f"damaged: .*{missing} is missing"):
        initialise(instance)
    assert sorted(instance.postgres_dir.rglob("*")) == before


def test_a_cluster_of_another_major_version_is_told(instance: Layout) -> None:
    (instance.postgres_dir / "global").mkdir(parents=True)
    (instance.postgres_dir / "base").mkdir()
    (instance.postgres_dir / "global" / "pg_control").touch()
    (instance.postgres_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(CannotStart, match=r"written by PostgreSQL 17, this is PostgreSQL 18.*pg_upgrade"):
        initialise(instance)


def test_a_lock_file_whose_number_another_program_has_does_not_keep_postgres_from_starting(cluster: Layout) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (cluster.postgres_dir / "postmaster.pid").write_text(f"{stranger.pid}\n{cluster.postgres_dir}\n")
        with run_both(cluster):
            assert ask(cluster, "SELECT 1") == [(1,)]
    finally:
        stranger.kill()
        stranger.wait()


def test_what_was_committed_survives_kill_9_and_the_next_start(instance: Layout) -> None:
    server = PostgresServer(instance, {"shared_buffers": "32MB"})
    server.initialise()
    process = server.program().start(subprocess.DEVNULL)
    assert until(server.is_ready)
    with closing(psycopg2.connect(instance.database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1 AS number")
    process.kill()
    process.wait()
    with run_both(instance):
        assert ask(instance, "SELECT number FROM kept") == [(1,)]


def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(cluster: Layout) -> None:
    wrong = servers(cluster, {"shared_buffers": "nonsense"})
    with (
        pytest.raises(CannotStart, match=r"(?s)postgres did not start.*nonsense"),
        running(wrong, cluster.run_dir / "wrong.log"),
    ):
        pass


@as_root
@on_linux
def test_where_user_namespaces_are_refused_root_becomes_another_user_and_back(
    instance: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PostgresServer(instance, FAST)
    other = identity._as_account(identity._unprivileged_account())
    with monkeypatch.context() as patch:
        patch.setattr("ragsite.embedded.postgres.postgres_identity", lambda: other)
        server.initialise()
        with run_both(instance):
            assert ask(instance, "SELECT 1") == [(1,)]
            assert server.folder.stat().st_uid == other.owner != 0
    with run_both(instance):  # now with a user namespace: the files go back to root
        assert ask(instance, "SELECT 1") == [(1,)]
        assert server.folder.stat().st_uid == identity.postgres_identity().owner


@as_root
@on_linux
@pytest.mark.parametrize("way", ["namespace", "account"])
def test_postgres_of_root_ends_with_the_process_that_started_it(instance: Layout, way: str) -> None:
    account = identity._unprivileged_account()
    chosen = identity._in_user_namespace(0, account) if way == "namespace" else identity._as_account(account)
    assert_dies_with_parent(instance, chosen)


def test_the_servers_end_when_their_starter_is_killed(instance: Layout) -> None:
    assert_dies_with_parent(instance, identity.postgres_identity())


def assert_dies_with_parent(layout: Layout, chosen: Identity) -> None:
    reader, writer = os.pipe()
    starter = os.fork()
    if starter == 0:
        _start_and_sleep(layout, chosen, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        pids = [int(line) for line in pipe.readline().split()]
    assert len(pids) == 2, "the servers did not start"
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    assert until(lambda: not any(is_alive(pid) for pid in pids))


def _start_and_sleep(layout: Layout, chosen: Identity, writer: int) -> None:
    """In a forked process: start both servers, tell their pids, never return."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ragsite.embedded.postgres.postgres_identity", lambda: chosen)
            server = PostgresServer(layout, FAST)
            server.initialise()
            started = [server.program().start(subprocess.DEVNULL), valkey_program(layout).start(subprocess.DEVNULL)]
            until(server.is_ready)
            os.write(writer, " ".join(str(process.pid) for process in started).encode() + b"\n")
            time.sleep(60)
    finally:
        os._exit(1)


def test_a_folder_of_another_user_that_cannot_be_given_away_is_told(
    instance: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(CannotStart, match=r"belongs to user id .* sudo chown"):
        identity.adopt(instance.data_dir, os.geteuid() + 1)


def test_a_data_folder_whose_path_is_too_long_for_a_socket_works() -> None:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        layout = Layout(Path(folder) / ("long" * 30) / "var")
        layout.create()
        try:
            PostgresServer(layout, FAST).initialise()
            with run_both(layout):
                assert ask(layout, "SELECT 1") == [(1,)]
                assert redis.from_url(layout.redis_url).ping()
        finally:
            shutil.rmtree(layout.run_dir)


@as_root
def test_a_folder_for_sockets_that_somebody_else_has_made_is_not_used() -> None:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        layout = Layout(Path(folder) / ("long" * 30) / "var")
        layout.run_dir.mkdir()
        try:
            os.chown(layout.run_dir, 12345, -1)
            with pytest.raises(PermissionError, match="belongs to another user"):
                layout.create()
        finally:
            layout.run_dir.rmdir()


def test_a_program_that_does_not_stop_is_killed(cluster: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "STOP_SECONDS", 0.2)
    program = valkey_program(cluster)
    process = program.start(subprocess.DEVNULL)
    assert until(lambda: services.accepts(cluster.valkey_socket))
    process.send_signal(signal.SIGSTOP)
    stop(program, process)
    assert process.returncode == -signal.SIGKILL


def test_the_lock_names_its_holder_and_is_free_after_release(instance: Layout) -> None:
    first, second = InstanceLock(instance), InstanceLock(instance)
    assert first.acquire("manage.py up", "http://127.0.0.1:8000/")
    assert not second.acquire("manage.py up")
    assert second.holder() == Holder(os.getpid(), "manage.py up", "http://127.0.0.1:8000/")
    first.release()
    assert second.acquire("ingest")
    second.release()


def run_manage(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_DIR,
        env=environment(layout),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(layout: Layout) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAGSITE_", "DJANGO_"))}
    return {**kept, "RAGSITE_DATA_DIR": str(layout.data_dir), "RAGSITE_DOTENV": os.devnull}


def test_a_command_alone_starts_the_servers_and_stops_them(instance: Layout) -> None:
    PostgresServer(instance, FAST).initialise()
    done = run_manage(
        instance, "shell", "-v0", "-c", "from django.db import connection as c; c.ensure_connection(); print('in')"
    )
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    assert not (instance.postgres_dir / "postmaster.pid").exists()


def test_a_command_uses_the_servers_that_run_and_they_wait_for_it(
    instance: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    PostgresServer(instance, FAST).initialise()
    monkeypatch.setenv("RAGSITE_DATA_DIR", str(instance.data_dir))
    with counted_as_user(instance):
        waiting = services_for("shell")
        waiting.__enter__()
        done = run_manage(
            instance, "shell", "-v0", "-c", "from django.db import connection as c; c.ensure_connection(); print('in')"
        )
        assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
        assert (instance.postgres_dir / "postmaster.pid").exists()
    waiting.__exit__(None, None, None)
    assert not (instance.postgres_dir / "postmaster.pid").exists()


def test_a_command_on_a_new_data_folder_finds_its_tables_and_standard_output_for_itself(instance: Layout) -> None:
    code = "from django.contrib.auth import get_user_model as model; print(model().objects.count())"
    done = run_manage(instance, "shell", "-v0", "-c", code)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_a_command_without_database_starts_nothing(instance: Layout) -> None:
    assert run_manage(instance, "version").returncode == 0
    assert not instance.postgres_dir.exists()


def test_the_embedded_servers_are_not_started_where_others_are_configured(
    instance: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/db")
    assert [service.program.name for service in servers(instance)] == ["valkey"]
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert servers(instance) == []
    assert not initialise(instance)


def test_accepts_tells_a_listening_socket_from_what_a_dead_server_left(instance: Layout) -> None:
    path = instance.run_dir / "some.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert services.accepts(path)
    assert not services.accepts(path)


def test_buffers_are_as_large_as_what_is_stored_and_no_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "memory_megabytes", lambda: 24_000)
    assert machine_settings(tmp_path)["shared_buffers"] == "512MB", "buffers take memory before a page is in them"
    (tmp_path / "base" / "5").mkdir(parents=True)
    with (tmp_path / "base" / "5" / "16384").open("wb") as table:
        table.truncate(1000 * 1024 * 1024)
    assert machine_settings(tmp_path)["shared_buffers"] == "2000MB"
    monkeypatch.setattr(postgres, "memory_megabytes", lambda: 2000)
    assert machine_settings(tmp_path)["shared_buffers"] == "250MB"
