"""Which failures are put down to which kill."""

from types import SimpleNamespace
from typing import Any

from tests.scale.faults import WEB_NODE, Fault, Killer
from tests.scale.visitors import Act, Try


def counted(*tries: Try) -> tuple[Fault, Fault, list[str]]:
    """A web node killed at 10 s and gone at 11 s, PgBouncer killed at 30 s."""
    faults = [Fault(WEB_NODE, at=10, gone=11, recovered=5, until=30), Fault("PgBouncer", 30, 30, recovered=1, until=40)]
    visitor: Any = SimpleNamespace(tries=list(tries), acts=[Act(9, 17, "ask")])
    rig: Any = None
    killer = Killer(rig, [visitor])
    killer.faults = faults
    killer.count()
    return faults[0], faults[1], list(killer.broken_promises())


def test_what_was_in_flight_at_a_web_node_may_fail() -> None:
    first, second, broken = counted(Try(9, 10.5, "GET", "502"), Try(12, 13, "GET"))
    assert (first.tries, first.failed, first.failed_later, first.failed_until) == (2, 1, 0, 0.5)
    assert (second.tries, first.longest_wait, broken) == (0, 7, [])


def test_what_was_sent_when_it_was_gone_may_not() -> None:
    first, _, broken = counted(Try(12, 13, "GET", "502"))
    assert (first.failed_later, broken) == (1, ["1 requests failed that were sent after a web node was killed"])


def test_what_the_next_kill_breaks_off_is_put_down_to_that() -> None:
    first, second, broken = counted(Try(29, 31, "POST", "503 database_unavailable"))
    assert (first.failed, second.failed, broken) == (0, 1, [])
