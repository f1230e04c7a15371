"""The real site on a primary and a streaming replica that pg_basebackup has made: lag, own writes, loss, promotion."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from ragsite.layout import Layout
from tests.instance import Instance, free_port, until
from tests.scale.replica import Node, address

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PEOPLE = ("ada", "ben", "eve")


class Cluster:
    """Two servers and a site on them."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.primary = Node.initialised(folder / "primary", free_port()).start()
        self.replica = self.primary.replica(folder / "replica", free_port()).start()
        data = folder / "site"
        data.mkdir()
        (data / "models").symlink_to(models)
        self.site = Instance(
            data,
            DATABASE_URL=address(self.primary, self.replica),
            DATABASE_REPLICA_URLS=self.replica.url,
            RAGSITE_THROTTLE="off",
            RAGSITE_LEASE_SECONDS="8",
        )

    def begin(self) -> "Cluster":
        self.site.wait_until_ready()
        self.tokens = {name: self._token(name) for name in PEOPLE}
        return self

    def _token(self, name: str) -> str:
        made = self.site.manage("create_token", name, "--create", "--name", "test")
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def end(self) -> None:
        self.site.end()
        for node in (self.replica, self.primary):
            if node.process and node.process.poll() is None:
                node.thaw()
                node.stop()

    def client(self, name: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.site.port}/api/v1/",
            headers={"Authorization": f"Bearer {self.tokens[name]}"},
            timeout=60,
        )

    def reads(self) -> dict[str, float]:
        """Reads so far by the server, and by why it was not the replica."""
        lines = httpx.get(f"http://127.0.0.1:{self.site.port}/metrics", timeout=30).text.splitlines()
        found = {"replica-1": 0.0, "default": 0.0}
        for line in lines:
            if line.startswith("ragsite_replica_reads_total{"):
                labels, value = line.split("} ")
                server = "replica-1" if "replica-1" in labels else "default"
                found[server] += float(value)
        return found


@pytest.fixture(scope="module")
def cluster(built_model: None, layout: Layout) -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="ragsite-") as folder:
        made = Cluster(Path(folder), layout.models_dir.resolve())
        try:
            yield made.begin()
        finally:
            made.end()


def names(client: httpx.Client) -> set[str]:
    """One's collections, by an address that nobody has asked for: what is kept is none of this."""
    answer = client.get("collections", params={"page_size": 100, "ordering": "-created_at", "x": uuid4().hex})
    assert answer.status_code == 200, answer.text
    return {row["name"] for row in answer.json()["results"]}


def create(client: httpx.Client, name: str) -> None:
    assert client.post("collections", json={"name": name}).status_code == 201


def reads_from_replica(cluster: Cluster, client: httpx.Client) -> bool:
    before = cluster.reads()["replica-1"]
    names(client)
    return cluster.reads()["replica-1"] > before


def test_reads_come_from_the_replica(cluster: Cluster) -> None:
    with cluster.client("ada") as ada:
        create(ada, "Shelf")
        assert until(lambda: reads_from_replica(cluster, ada))
        assert names(ada) == {"Shelf"}


def test_it_is_told_how_the_replica_is(cluster: Cluster) -> None:
    base = f"http://127.0.0.1:{cluster.site.port}"
    assert httpx.get(f"{base}/readyz", timeout=30).json()["parts"]["replica-1"]["ok"]
    assert 'ragsite_replica_lag_seconds{server="replica-1"}' in httpx.get(f"{base}/metrics", timeout=30).text
    checked = cluster.site.manage("check", "--deploy")
    assert "ragsite.W012" in checked.stderr, "the role may not see the timeline"
    cluster.primary.query("GRANT pg_read_all_stats TO ragsite")
    assert until(lambda: cluster.replica.has_caught_up_with(cluster.primary))
    assert "replica-1" not in cluster.site.manage("check", "--deploy").stderr


def test_a_search_comes_from_the_replica(cluster: Cluster) -> None:
    """With its index and its functions, as the replica has them."""
    with cluster.client("ada") as ada:
        upload(ada, "The lighthouse of Amrum was built in 1875.")

        def searched() -> bool:
            before = cluster.reads()["replica-1"]
            found = ada.post("search", json={"query": f"When was the lighthouse built? {uuid4().hex[:4]}"}).json()
            assert "1875" in found["results"][0]["text"]
            return cluster.reads()["replica-1"] > before

        assert until(searched)


def upload(client: httpx.Client, text: str) -> None:
    made = client.post("documents", files={"file": ("note.txt", text.encode())})
    assert made.status_code == 201, made.text
    document = made.json()["id"]
    assert until(lambda: client.get(f"documents/{document}").json()["status"] == "processed", seconds=120)


def test_a_replica_that_lags_shows_nobody_less_than_they_have_written(cluster: Cluster) -> None:
    """Each writes, and reads at once on another connection, while the replica is 300 ms behind."""
    cluster.replica.set(recovery_min_apply_delay="300ms")
    failures: list[str] = []

    def live(name: str) -> None:
        with cluster.client(name) as writer, cluster.client(name) as reader:
            for number in range(25):
                create(writer, f"{name} {number}")
                for _ in range(4):
                    if f"{name} {number}" not in names(reader):
                        failures.append(f"{name} {number}")

    before = cluster.reads()["replica-1"]
    try:
        side_by_side([lambda name=name: live(name) for name in PEOPLE])  # type: ignore[misc]
    finally:
        cluster.replica.set(recovery_min_apply_delay="0")
    assert failures == []
    with cluster.client("eve") as eve:
        assert until(lambda: reads_from_replica(cluster, eve))
    assert cluster.reads()["replica-1"] > before


def side_by_side(lives: list[Callable[[], None]]) -> None:
    raised: list[BaseException] = []

    def run(live: Callable[[], None]) -> None:
        try:
            live()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=[live]) for live in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []


def test_while_replay_is_paused_only_those_who_write_read_from_the_primary(cluster: Cluster) -> None:
    with cluster.client("ada") as ada, cluster.client("ben") as ben:
        assert until(lambda: reads_from_replica(cluster, ada) and reads_from_replica(cluster, ben))
        cluster.replica.pause()
        try:
            create(ada, "Unseen")
            assert "Unseen" in names(ada)
            assert not reads_from_replica(cluster, ada)
            assert reads_from_replica(cluster, ben)
        finally:
            cluster.replica.resume()
        assert until(lambda: reads_from_replica(cluster, ada))
        assert "Unseen" in names(ada)


def test_a_replica_that_is_killed_is_no_error_and_is_used_again(cluster: Cluster) -> None:
    with cluster.client("ben") as ben:
        assert until(lambda: reads_from_replica(cluster, ben))
        cluster.replica.kill()
        for _ in range(20):
            assert names(ben)
        assert not reads_from_replica(cluster, ben)
        cluster.replica.start()
        assert until(lambda: reads_from_replica(cluster, ben))


class Patient(threading.Thread):
    """Writes all the time, and sends again what was not taken, with the same key."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__()
        self.client, self.name_of = cluster.client(name), name
        self.ended = threading.Event()
        self.taken: set[str] = set()
        self.refusals: list[tuple[int, str | None]] = []
        self.broken: list[str] = []
        self.longest = 0.0

    def run(self) -> None:
        while not self.ended.is_set():
            started = time.monotonic()
            text = f"{self.name_of} {uuid4().hex}"
            key = {"Idempotency-Key": uuid4().hex}
            while not self._sent(text, key):
                time.sleep(0.05)
            self.taken.add(text)
            self.longest = max(self.longest, time.monotonic() - started)

    def _sent(self, text: str, key: dict[str, str]) -> bool:
        try:
            answer = self.client.post("documents", files={"file": (f"{text}.txt", text.encode())}, headers=key)
        except httpx.TransportError as error:
            self.broken.append(str(error))
            return False
        if answer.status_code in (200, 201):
            return True
        self.refusals.append((answer.status_code, answer.headers.get("Retry-After")))
        return False


def test_the_primary_dies_and_the_replica_takes_its_place(cluster: Cluster, capsys: Any) -> None:
    """With synchronous replication nothing is lost that was taken; the site is not restarted, work goes on."""
    cluster.primary.set(synchronous_standby_names="*")
    assert until(lambda: cluster.primary.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)])
    writers = [Patient(cluster, name) for name in PEOPLE]
    for writer in writers:
        writer.start()
    assert until(lambda: all(len(writer.taken) > 3 for writer in writers))
    cluster.primary.kill()
    assert until(lambda: all(writer.refusals for writer in writers))
    killed = {writer: len(writer.taken) for writer in writers}
    promoted_at = time.monotonic()
    cluster.replica.promote()
    assert until(lambda: all(len(writer.taken) > killed[writer] + 3 for writer in writers), seconds=120)
    back_after = time.monotonic() - promoted_at
    for writer in writers:
        writer.ended.set()
        writer.join()
    refusals = {refusal for writer in writers for refusal in writer.refusals}
    assert refusals <= {(503, "3"), (409, "1")}, "the database is away, or the first try with this key still runs"
    assert [writer.broken for writer in writers] == [[], [], []]
    for writer in writers:
        stored = documents(cluster, writer.name_of)
        assert {f"{text}.txt" for text in writer.taken} <= set(stored)
    assert until(lambda: all(set(documents(cluster, name).values()) == {"processed"} for name in PEOPLE), seconds=240)
    with capsys.disabled():
        print(f"\n{sum(len(w.taken) for w in writers)} taken, none lost; writes {back_after:.1f} s after the promotion")


def documents(cluster: Cluster, name: str) -> dict[str, str]:
    """What has been uploaded by name, and how far it is."""
    found: dict[str, str] = {}
    with cluster.client(name) as client:
        url = f"documents?page_size=100&search={quote(name)}&x={uuid4().hex}"
        while url:
            page = client.get(url).json()
            found |= {row["filename"]: row["status"] for row in page["results"]}
            url = page["next"]
    return found


def test_the_site_goes_on_with_a_replica_of_the_new_primary(cluster: Cluster) -> None:
    """The old one comes back as a copy of the new one. Its address takes writes no more."""
    with cluster.client("ada") as ada:
        create(ada, "After")
        assert "After" in names(ada)
        assert not reads_from_replica(cluster, ada), "what DATABASE_REPLICA_URLS names takes writes now: it is none"
        parts = httpx.get(f"http://127.0.0.1:{cluster.site.port}/readyz", timeout=30).json()["parts"]
        assert parts["database"]["ok"]
        assert "takes writes" in parts["replica-1"]["detail"]
        cluster.replica.set(synchronous_standby_names="")
        old = cluster.replica.replica(cluster.primary.folder, cluster.primary.port).start()
        try:
            create(ada, "With the old one beside")
            assert until(lambda: old.has_caught_up_with(cluster.replica))
        finally:
            old.stop()
