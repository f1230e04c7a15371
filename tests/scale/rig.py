"""A site on many machines, all of them on this one: what docs/rolling-restart.md and `make scale-test` try."""

import random
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ragsite.layout import PROJECT_DIR
from tests.instance import free_port, until
from tests.load.mock_model import Times
from tests.load.mock_process import running_mock_process
from tests.scale.balancer import HAPROXY, Balancer
from tests.scale.keeper import Keeper
from tests.scale.nodes import MANAGE, SHARED, Node
from tests.scale.processes import Process
from tests.scale.replica import Node as Postgres
from tests.scale.servers import PGBOUNCER, PgBouncer, Valkey
from tests.scale.visitors import Visitor

LEASE_SECONDS = 10
MODEL = Times(first=200, delay=20, tokens=60, beat=10)
SECRET = "one key for all nodes, as they sign and read each other's sessions and cursors"
TOKENS = """
from ragsite.accounts.models import ApiToken, User
for n in range({count}):
    print(ApiToken.issue(owner=User.objects.create_user(f"visitor{{n}}"), name="scale")[1])
"""
missing = [name for name, path in {"haproxy": HAPROXY, "pgbouncer": PGBOUNCER}.items() if path is None]


class Rig:
    """All parts, started. ``web`` and ``workers`` are the nodes."""

    def __init__(self, folder: Path, stack: ExitStack, settings: Mapping[str, str]) -> None:
        self.folder, self.stack = folder, stack
        self.shared = self._shared_folder()
        self.primary = Postgres.initialised(folder / "primary", free_port()).start()
        stack.callback(self.primary.stop)
        self.replica = self.primary.replica(folder / "replica", free_port()).start()
        stack.callback(self.replica.stop)
        self.valkey = self._started(Valkey(folder))
        self.pool = self._started(PgBouncer(folder / "pgbouncer", self.primary))
        self.settings = {**self._settings(), **settings}
        self.prepare()
        self.web = [self._node(f"web node {name}", "web", "encoder", "sandbox") for name in "ab"]
        self.workers = [self._node(f"worker {n}", "worker", "upkeep", "encoder", "sandbox") for n in (1, 2)]
        for node in self.web:
            node.wait_until_ready()
        self.balancer = self._started(Balancer(folder, *(node.address for node in self.web)))
        self.url = self.balancer.url
        self.keeper = stack.enter_context(Keeper(self.primary, self.replica, self.pool, self._kept()))
        assert until(lambda: self.keeper.waits_for_replica)

    def _shared_folder(self) -> Path:
        shared = self.folder / "shared"
        for part in SHARED:
            (shared / part).mkdir(parents=True)
        (shared / "models").symlink_to(PROJECT_DIR / "var" / "models")
        return shared

    def _settings(self) -> dict[str, str]:
        model = self.stack.enter_context(running_mock_process(MODEL))
        return {
            "DATABASE_URL": self.pool.url,
            "DATABASE_REPLICA_URLS": self.replica.url,
            "REDIS_URL": self.valkey.url,
            "RAGSITE_DATABASE_POOL": "8",
            "RAGSITE_SECRET_KEY": SECRET,
            "RAGSITE_THROTTLE": "off",
            "RAGSITE_TRUSTED_PROXIES": "1",
            "RAGSITE_LEASE_SECONDS": str(LEASE_SECONDS),
            "RAGSITE_DRAIN_SECONDS": "3",
            "RAGSITE_GRACE_SECONDS": "30",
            "LLM_BASE_URL": model.url,
            "LLM_MODEL": "mock",
        }

    def _started(self, process: "Valkey | PgBouncer | Balancer") -> "Valkey | PgBouncer | Balancer":
        process.start()
        self.stack.callback(process.end)
        process.wait_until_ready()
        return process

    def _node(self, name: str, *roles: str) -> Node:
        node = Node(name, self.folder / name.replace(" ", "-"), self.shared, self.settings, *roles)
        for part in ("static",):  # collected once by `prepare`; a node may as well do that for itself
            (node.folder / part).symlink_to(self.folder / "prepared" / part)
        node.start()
        self.stack.callback(node.end)
        return node

    def _kept(self) -> list[Process]:
        return [self.valkey, self.pool, self.balancer, *self.web, *self.workers]

    def prepare(self) -> None:
        """As once for each release: migrations go to the primary itself, not through the pool."""
        home = Node("prepare", self.folder / "prepared", self.shared, self.settings)
        home.environment["DATABASE_URL"] = self.primary.url
        self.commands = home.environment
        self.manage("prepare")
        self.commands = home.environment | {"DATABASE_URL": self.pool.url}

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [*MANAGE, *arguments], cwd=PROJECT_DIR, env=self.commands, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def visitors(self, count: int, seed: int, over: threading.Event) -> list[Visitor]:
        tokens = self.manage("shell", "-v0", "-c", TOKENS.format(count=count)).split()[-count:]
        return [Visitor(self.url, token, random.Random(f"{seed}-{n}"), over) for n, token in enumerate(tokens)]


@contextmanager
def running_rig(folder: Path, **settings: str) -> Iterator[Rig]:
    """Everything is ended with this block, whatever happens."""
    with ExitStack() as stack:
        yield Rig(folder, stack, settings)
