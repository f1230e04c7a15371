"""Some of the site's processes, beside servers of one's own: `manage.py up web`, `manage.py up worker sandbox`.

So a container, or one machine of several, runs its part with the same options as a site on one machine. Nothing is
prepared here: `manage.py prepare` does that once for a release.
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ragsite.embedded.engines import encoder_program, sandbox_program
from ragsite.embedded.errors import CannotStart
from ragsite.embedded.program import Program
from ragsite.embedded.services import redis_is_named
from ragsite.layout import Layout
from ragsite.supervisor.checks import listen, make_folders
from ragsite.supervisor.counting import forget_counts, make_room_for_counts
from ragsite.supervisor.loop import Supervisor
from ragsite.supervisor.output import Output
from ragsite.supervisor.site import STOP_ORDER, Address, upkeep_program, web_program, worker_program

ENGINES: dict[str, Callable[[Layout], Program]] = {"encoder": encoder_program, "sandbox": sandbox_program}
WORKERS: dict[str, Callable[[], Program]] = {"worker": worker_program, "upkeep": upkeep_program}
ROLES = ("web", *WORKERS, *ENGINES)


def up_roles(names: Sequence[str]) -> int:
    """Run these until Ctrl-C or SIGTERM. Raises CannotStart when they cannot be started."""
    _check(names)
    layout, address = Layout.from_environment(), Address.from_environment()
    make_folders(layout)
    with ExitStack() as stack:
        stack.callback(forget_counts, make_room_for_counts(layout, f"{'-'.join(sorted(names))}-{address.port}"))
        listener = stack.enter_context(listen(address.host, address.port)) if "web" in names else None
        output = Output()
        stack.callback(output.close)
        supervisor = Supervisor(output)
        stack.callback(supervisor.stop, STOP_ORDER)
        if listener is not None:  # first: nobody should wait in it when gunicorn has closed its own, after the drain
            stack.callback(listener.close)
        for name in dict.fromkeys(names):
            supervisor.start(_program(name, layout, listener))
        supervisor.say(f"started {', '.join(names)}; Ctrl-C stops")
        supervisor.run()
        supervisor.say("stopping")
    return 0


def _check(names: Sequence[str]) -> None:
    if unknown := sorted(set(names) - set(ROLES)):
        raise CannotStart(f"There is no {unknown[0]} to start. Name some of {', '.join(ROLES)}, or none to start all.")
    if {"web", *WORKERS} & set(names):
        for name, is_set in (("DATABASE_URL", bool(os.environ.get("DATABASE_URL"))), ("REDIS_URL", redis_is_named())):
            if not is_set:
                raise CannotStart(f"{name} is not set: a part of the site uses servers that others reach too.")


def _program(name: str, layout: Layout, listener: socket.socket | None) -> Program:
    if listener is not None and name == "web":
        return web_program(listener)
    return ENGINES[name](layout) if name in ENGINES else WORKERS[name]()
