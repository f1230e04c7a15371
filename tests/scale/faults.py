"""Kills one part after the other; measures until when visitors were refused anything, and when all was well again."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg2
from redis import Redis

from tests.instance import until
from tests.scale.nodes import Node, status
from tests.scale.rig import LEASE_SECONDS, Rig
from tests.scale.visitors import Try, Visitor

LONGEST_SECONDS = 180
CALM_SECONDS = 5.0
"""So long nothing must fail before the next part is killed."""
LOOK_EVERY = 0.05
WEB_NODE = "web node"
IN_WORK = "SELECT id, now() + %s * interval '1 second' FROM documents_document WHERE attempt IS NOT NULL"
ABANDONED = """
SELECT count(*) FROM documents_document WHERE id = ANY (%s::uuid[]) AND status NOT IN ('processed', 'failed')
AND (lease_expires_at IS NULL OR lease_expires_at <= %s)
"""


@dataclass
class Fault:
    """What one kill came to. Seconds are from the kill; None: not within LONGEST_SECONDS."""

    part: str
    at: float
    gone: float
    """When the last of its processes was: it takes a moment to end several."""
    recovered: float | None
    until: float = 0.0
    tries: int = 0
    failed: int = 0
    failed_later: int = 0
    """Of those, which were sent when it was gone."""
    failed_until: float = 0.0
    longest_wait: float = 0.0
    what_failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """How to kill it, when, and how to see that it is well again."""

    name: str
    kill: Callable[[], None]
    is_well: Callable[[], bool]
    is_due: Callable[[], bool] = lambda: True


class Killer:
    """``visitors`` are at work meanwhile, in threads of their own."""

    def __init__(self, rig: Rig, visitors: Sequence[Visitor]) -> None:
        self.rig, self.visitors = rig, visitors
        self.faults: list[Fault] = []

    def kill_each(self) -> None:
        """The primary last: there is one replica, and it takes its place for good."""
        for part in (self._web_node(), self._worker(), self._pool(), self._replica(), self._valkey(), self._primary()):
            print(f"{part.name} …", flush=True)
            until(part.is_due)
            at = time.monotonic()
            part.kill()
            fault = Fault(part.name, at, time.monotonic(), self._wait(at, part.is_well))
            self._wait_for_calm()
            fault.until = time.monotonic()
            self.faults.append(fault)

    def _wait(self, at: float, is_well: Callable[[], bool]) -> float | None:
        while time.monotonic() - at < LONGEST_SECONDS:
            if is_well():
                return time.monotonic() - at
            time.sleep(LOOK_EVERY)
        return None

    def _wait_for_calm(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - max([begun, *self._failures()]) < CALM_SECONDS:
            if time.monotonic() - begun > LONGEST_SECONDS:
                return
            time.sleep(LOOK_EVERY)

    def _failures(self) -> list[float]:
        return [one.ended for visitor in self.visitors for one in list(visitor.tries) if one.failure]

    # --- The parts ----------------------------------------------------------------------------------------------------
    def _web_node(self) -> Part:
        """While it writes answers that somebody reads."""
        node = self.rig.web[0]
        return Part(
            WEB_NODE,
            node.kill,
            is_well=lambda: not node.has_ended() and node.is_ready(),
            is_due=lambda: self._answers_of(node) > 1 and any(visitor.is_reading for visitor in self.visitors),
        )

    def _answers_of(self, node: Node) -> int:
        """How many answers have their sign of life from a process of this node (ragsite.lifeline)."""
        state = (node.folder / "alive").stat()
        place = f"{os.uname().nodename}-{state.st_dev}-{state.st_ino}:".encode()
        with Redis.from_url(self.rig.valkey.url) as client:
            signs = [client.get(key) or b"" for key in client.scan_iter("*:answers:*:alive")]
        return sum(sign.startswith(place) for sign in signs)  # type: ignore[union-attr]

    def _worker(self) -> Part:
        """While documents are in work. Well again is when each of those is done or in work: its lease was renewed, by
        the other worker or by whoever has taken it over."""
        node, taken = self.rig.workers[0], list[tuple[str, datetime]]()

        def kill() -> None:
            taken.extend(self.rig.primary.query(IN_WORK, LEASE_SECONDS))  # type: ignore[arg-type]
            node.kill()

        def is_well() -> bool:
            ids, expiry = [str(row[0]) for row in taken], max(row[1] for row in taken)
            return not node.has_ended() and self.rig.primary.query(ABANDONED, ids, expiry) == [(0,)]

        return Part("worker node", kill, is_well, is_due=lambda: bool(self.rig.primary.query(IN_WORK, 0)))

    def _pool(self) -> Part:
        return Part("PgBouncer", self.rig.pool.kill, self.rig.pool.is_ready)

    def _replica(self) -> Part:
        keeper, replica = self.rig.keeper, self.rig.replica
        return Part("replica", replica.kill, lambda: keeper.waits_for_replica and replica.answers())

    def _valkey(self) -> Part:
        def is_well() -> bool:
            return self.rig.valkey.is_ready() and all(node.is_ready() for node in self.rig.web)

        return Part("Valkey", self.rig.valkey.kill, is_well)

    def _primary(self) -> Part:
        return Part("primary", self.rig.primary.kill, self._site_writes)

    def _site_writes(self) -> bool:
        """On the replica that was promoted, through PgBouncer, as the nodes do."""
        if not self.rig.keeper.is_promoted or status(f"{self.rig.url}/readyz") != 200:
            return False
        try:
            with psycopg2.connect(self.rig.pool.url, connect_timeout=2) as database, database.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                return cursor.fetchone() == (False,)
        except psycopg2.Error:
            return False

    # --- What it cost -------------------------------------------------------------------------------------------------
    def count(self) -> None:
        """Once all visitors have stopped."""
        for fault in self.faults:
            tries = [one for visitor in self.visitors for one in visitor.tries if _touches(one, fault)]
            failed = [one for one in tries if one.failure]
            fault.tries, fault.failed = len(tries), len(failed)
            fault.failed_later = sum(one.began > fault.gone for one in failed)
            fault.failed_until = max((one.ended - fault.at for one in failed), default=0.0)
            fault.what_failed = tuple(sorted({f"{one.what}: {one.failure}" for one in failed}))
            acts = [act for visitor in self.visitors for act in visitor.acts]
            waits = [
                act.ended - max(act.began, fault.at) for act in acts if act.began < fault.until and act.ended > fault.at
            ]
            fault.longest_wait = max(waits, default=0.0)

    def broken_promises(self) -> Iterator[str]:
        """A web node that dies takes along what it was at, and no request that came after."""
        for fault in self.faults:
            if fault.recovered is None:
                yield f"{fault.part} was not well again after {LONGEST_SECONDS} s"
            if fault.part == WEB_NODE and fault.failed_later:
                yield f"{fault.failed_later} requests failed that were sent after a web node was killed"


def _touches(one: Try, fault: Fault) -> bool:
    """By its end: what the next kill breaks off may have begun before that."""
    return fault.at < one.ended <= fault.until
