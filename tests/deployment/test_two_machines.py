"""A web machine and a worker machine with nothing in common but PostgreSQL, Valkey, the encoder and the files.

Each has a data folder of its own; where root may make network namespaces the worker has one of its own too, from which
only addresses of the first machine are reached, and not its loopback. The files are in an S3 server or in a folder that
both have mounted.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg2
import pytest
from fpdf import FPDF
from redis import Redis
from redis.exceptions import RedisError

from ragsite.embedded.valkey import _binary as valkey_binary
from ragsite.encoder.build import is_built
from ragsite.encoder.models import DEFAULT_MODEL
from ragsite.layout import PROJECT_DIR
from tests.instance import environment_for, free_port, until
from tests.scale.replica import Node

boto3 = pytest.importorskip("boto3", reason="no boto3: pip install -r requirements-s3.txt")
pytest.importorskip("moto.server", reason="no moto: pip install -r requirements-dev.txt")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KEY = "a key of this test"
MODELS = PROJECT_DIR / "var" / "models"
IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
FIRST, SECOND = "10.213.77.1", "10.213.77.2"


@dataclass
class Network:
    """How the second machine is entered, and the address at which it finds the first."""

    address: str = "127.0.0.1"
    enter: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    name = f"ragsite-{os.getpid()}"
    ends = (f"rs{os.getpid()}a", f"rs{os.getpid()}b")
    inside = ["netns", "exec", name, str(IP)]
    commands = [
        ["netns", "add", name],
        ["link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", name],
        ["addr", "add", f"{FIRST}/30", "dev", ends[0]],
        ["link", "set", ends[0], "up"],
        [*inside, "addr", "add", f"{SECOND}/30", "dev", ends[1]],
        [*inside, "link", "set", ends[1], "up"],
        [*inside, "link", "set", "lo", "up"],
    ]
    if all(map(ip, commands)):
        yield Network(FIRST, [str(IP), "netns", "exec", name])
    else:
        yield Network()
    ip(["netns", "del", name])


def ip(arguments: list[str]) -> bool:
    return bool(IP) and subprocess.run([str(IP), *arguments], capture_output=True, check=False).returncode == 0


@dataclass
class Program:
    """A process of this test, with its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_for(self, condition: Callable[[], object]) -> None:
        assert until(lambda: condition() or self.process.poll() is not None, seconds=240), self.lines
        assert self.process.poll() is None, self.lines

    @property
    def lines(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(log: Path, command: list[str], environment: dict[str, str] | None = None) -> Iterator[Program]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=output, stderr=output)
    program = Program(process, log)
    try:
        yield program
    finally:
        program.end()


@dataclass
class Servers:
    """What both machines reach over TCP."""

    folder: Path
    network: Network
    database: str
    settings: dict[str, str]
    s3: str


@pytest.fixture(scope="module")
def servers(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    if not is_built(DEFAULT_MODEL, MODELS):
        pytest.skip("no model in var/models: python -m ragsite.encoder.build")
    folder, here = tmp_path_factory.mktemp("servers"), network.address
    valkey, encoder, s3, postgres = (free_port() for _ in range(4))
    key = os.environ | {"EMBEDDING_API_KEY": KEY, "RAGSITE_ALLOW_HTTP": "on"}
    listening = ["--port", str(valkey), "--bind", here, "--protected-mode", "no", "--save", ""]
    with ExitStack() as stack:
        primary = Node.initialised(folder / "postgres", postgres)
        with (primary.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {here}/30 scram-sha-256\n")
        primary.start(listen_addresses="*", unix_socket_directories="")
        stack.callback(primary.stop)
        cache = stack.enter_context(running(folder / "valkey.log", [str(valkey_binary()), *listening]))
        store = stack.enter_context(
            running(folder / "s3.log", [sys.executable, "-m", "moto.server", "-H", here, "-p", str(s3)])
        )
        command = [sys.executable, "-m", "ragsite.encoder", "--host", here, "--port", str(encoder)]
        vectors = stack.enter_context(running(folder / "encoder.log", [*command, "--models", str(MODELS)], key))
        cache.wait_for(lambda: pings(f"redis://{here}:{valkey}/0"))
        store.wait_for(lambda: answers(f"http://{here}:{s3}/moto-api/"))
        vectors.wait_for(lambda: answers(f"http://{here}:{encoder}/healthz"))
        yield Servers(
            folder,
            network,
            primary.url.replace("127.0.0.1", here),
            {
                "DATABASE_URL": primary.url.replace("127.0.0.1", here),
                "REDIS_URL": f"redis://{here}:{valkey}/0",
                "EMBEDDING_BASE_URL": f"http://{here}:{encoder}/v1",
                "EMBEDDING_API_KEY": KEY,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "RAGSITE_THROTTLE": "off",
            },
            f"http://{here}:{s3}",
        )


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def pings(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False


class Machine:
    """Some of the site's processes, beside a data folder that nobody else has."""

    def __init__(self, folder: Path, servers: Servers, storage: dict[str, str], enter: list[str]) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self.log = folder.with_suffix(".log")
        self.environment = environment_for(folder, self.port) | servers.settings | storage | {"RAGSITE_WORKERS": "3"}
        self.command = [*enter, sys.executable, "manage.py"]

    def up(self, *roles: str, queues: str = "") -> "Program":
        environment = self.environment | {"RAGSITE_QUEUES": queues}
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, "up", *roles], cwd=PROJECT_DIR, env=environment, stdout=output, stderr=output
            )
        return Program(process, self.log)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=PROJECT_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=["S3", "a shared volume"])
def storage(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> dict[str, str]:
    """The setting that both machines have; a shared volume is mounted by the test itself."""
    if request.param != "S3":
        return {}
    client = boto3.client(
        "s3", endpoint_url=servers.s3, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="library")
    return {"RAGSITE_STORAGE_URL": f"s3://library/site?endpoint_url={servers.s3}&region_name=us-east-1"}


@pytest.fixture
def machines(servers: Servers, storage: dict[str, str], tmp_path: Path) -> tuple[Machine, Machine]:
    first = Machine(tmp_path / "first", servers, storage, [])
    second = Machine(tmp_path / "second", servers, storage, servers.network.enter)
    if not storage:
        (tmp_path / "volume").mkdir()
        for machine in (first, second):
            (machine.folder / "files").symlink_to(tmp_path / "volume")
    return first, second


def paper(pages: int) -> bytes:
    made = FPDF()
    made.set_font("Helvetica", size=12)
    for number in range(1, pages + 1):
        made.add_page()
        made.multi_cell(0, 8, f"Page {number}. The bridge of Arlen is 742 metres long. " * 3)
    return bytes(made.output())


def test_what_is_put_in_on_one_machine_is_processed_on_the_other(
    servers: Servers, machines: tuple[Machine, Machine], storage: dict[str, str]
) -> None:
    first, second = machines
    first.manage("prepare")
    token = first.manage("create_token", "anna", "--create", "--name", "test")
    http = httpx.Client(
        base_url=f"http://127.0.0.1:{first.port}", headers={"Authorization": f"Bearer {token}"}, timeout=60
    )
    web, worker = first.up("web", "sandbox", "upkeep"), second.up("worker", "sandbox")
    try:
        web.wait_for(lambda: answers(f"http://127.0.0.1:{first.port}/healthz"))
        content = paper(3)
        document = upload(http, "bridge.pdf", content)
        until_processed(http, [document], worker)
        assert http.get(f"{document}/file").content == content
        picture = http.get(f"{document}/pages/2")
        assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/webp"), web.lines
        found = http.post("/api/v1/search", json={"query": "How long is the bridge?"}).json()["results"][0]
        assert (found["filename"], found["scores"]["meaning"] > 0) == ("bridge.pdf", True)
        kept_apart(first, second, storage)
        drained(servers, http, second, worker)
        http.delete(document).raise_for_status()
        assert http.get(f"{document}/file").status_code == 404
        assert http.get("/readyz").json()["status"] == "ok", web.lines
    finally:
        for program in (web, worker):
            program.end()
        http.close()
        empty(servers)


def upload(http: httpx.Client, name: str, content: bytes) -> str:
    answer = http.post("/api/v1/documents", files={"file": (name, content)})
    answer.raise_for_status()
    return f"/api/v1/documents/{answer.json()['id']}"


def until_processed(http: httpx.Client, documents: list[str], worker: Program) -> None:
    for document in documents:
        assert until(lambda document=document: http.get(document).json()["status"] == "processed", 240), worker.lines


def kept_apart(first: Machine, second: Machine, storage: dict[str, str]) -> None:
    """No file but in the storage, and no secret of one machine on the other."""
    for machine in (first, second) if storage else ():
        assert [path for path in (machine.folder / "files").rglob("*") if path.is_file()] == []
    secrets = [{path.read_text() for path in (machine.folder / "secrets").iterdir()} for machine in (first, second)]
    assert not secrets[0] & secrets[1]
    assert not (second.folder / "run" / "encoder.sock").exists()


def drained(servers: Servers, http: httpx.Client, machine: Machine, worker: Program) -> None:
    """The worker is told to stop again and again in the middle of work; workers of some queues go on with it."""
    words = " ".join(f"Sentence {number} tells of a bridge that is {number} metres long." for number in range(150))
    large = f"<html><!-- {'much that is not read ' * 60_000} --><p>{words}</p></html>"
    documents = [upload(http, "large.html", large.encode())]
    documents += [upload(http, f"{number}.txt", f"{number}. {words}".encode()) for number in range(8)]
    for queues in ("", "interactive,ingest-small,embed", "ingest-bulk,embed"):
        if worker.process.poll() is not None:
            worker = machine.up("worker", "sandbox", queues=queues)
        assert until(lambda: leased(servers) > 0, 120), worker.lines
        assert worker.end() == 0
        assert leased(servers) == 0
    small = machine.up("worker", "sandbox", queues="interactive,ingest-small")
    bulk = machine.up("worker", queues="ingest-bulk")  # the same machine, the same sandbox
    try:
        until_processed(http, documents, bulk)
        assert crashes(servers) == 0
    finally:
        for program in (small, bulk):
            assert program.end() == 0


def asked(servers: Servers, statement: str) -> int:
    connection = psycopg2.connect(servers.database)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def leased(servers: Servers) -> int:
    return asked(servers, "SELECT count(*) FROM documents_document WHERE attempt IS NOT NULL")


def crashes(servers: Servers) -> int:
    return asked(servers, "SELECT count(*) FROM documents_document WHERE crashes > 0 OR status = 'failed'")


def empty(servers: Servers) -> None:
    """The next test has the database for itself."""
    asked(servers, "WITH gone AS (DELETE FROM documents_document RETURNING 1) SELECT count(*) FROM gone")
