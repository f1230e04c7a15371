"""The systems that can be put under load, by their names."""

from tests.load.harness.systems.base import System
from tests.load.harness.systems.open_webui import OpenWebUI
from tests.load.harness.systems.ragsite import Ragsite


def system_named(name: str) -> System:
    """``ragsite``, or ``open-webui`` with a model and a knowledge base behind colons: ``open-webui:mock:ID``."""
    kind, _, rest = name.partition(":")
    if kind == Ragsite.name:
        return Ragsite()
    if kind == OpenWebUI.name:
        return OpenWebUI(*rest.split(":"))
    raise ValueError(f"no adapter for {name!r}")
