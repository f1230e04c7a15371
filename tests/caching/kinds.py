"""Values of the tests that several processes share."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from ragsite.caching import Dependency, Keyspace

THING = Dependency("hammered-row", ("owner", "row"), "The tests.")
NUMBERS: Keyspace[Any] = Keyspace(
    "hammered",
    {"owner": int, "row": UUID},
    "Of the tests.",
    timedelta(minutes=5),
    (THING,),
    flight=timedelta(seconds=1),
)
