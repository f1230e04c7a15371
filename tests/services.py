"""A real PostgreSQL and Valkey for the whole test run, and on demand the real sandbox and encoder.

A pytest plugin. The first process runs the servers, those of pytest-xdist use them; however that process ends, they end
with it.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragsite.embedded.engines import encoder_program, model_builder, sandbox_program
from ragsite.embedded.lock import InstanceLock, counted_as_user, wait_for_users
from ragsite.embedded.postgres import PostgresServer
from ragsite.embedded.program import Program, accepts
from ragsite.embedded.services import Service, running, servers
from ragsite.layout import PROJECT_DIR, Layout

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
_exit = contextlib.ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    if _is_first_process(session.config) and not session.config.option.collectonly:
        layout = Layout.from_environment()
        layout.create()
        _borrow_models(layout)
        PostgresServer(layout, FAST).initialise()
        _exit.callback(shutil.rmtree, layout.data_dir, ignore_errors=True)
        _exit.enter_context(running(servers(layout, FAST), layout.run_dir / "servers.log"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _is_first_process(config):
        _exit.close()


def _is_first_process(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The folders and sockets of this test run."""
    return Layout.from_environment()


@pytest.fixture(scope="session")
def sandbox_service(layout: Layout) -> Iterator[Path]:
    """The socket of a real sandbox."""
    with _shared(layout, sandbox_program(layout), layout.sandbox_socket):
        yield layout.sandbox_socket


@pytest.fixture(scope="session")
def built_model(layout: Layout) -> None:
    """The embedding model: that of the checkout if it has been made there, else made once for this run."""
    builder = model_builder(layout).start()
    assert builder.wait() == 0


@pytest.fixture(scope="session")
def encoder_service(layout: Layout, built_model: None) -> Iterator[Path]:
    """The socket of a real encoder."""
    with _shared(layout, encoder_program(layout), layout.encoder_socket):
        yield layout.encoder_socket


def _borrow_models(layout: Layout) -> None:
    """Use the models that have been made in the checkout, before other test processes look."""
    made = PROJECT_DIR / "var" / "models"
    if made.is_dir():
        layout.models_dir.rmdir()
        layout.models_dir.symlink_to(made, target_is_directory=True)


@contextlib.contextmanager
def _shared(layout: Layout, program: Program, socket: Path) -> Iterator[None]:
    """One of its kind for all test processes: the first to want it starts it, and stops it when nobody uses it."""
    lock = InstanceLock(layout, program.name)
    service = Service(program, lambda: accepts(socket))
    with contextlib.ExitStack() as stack:
        if lock.acquire("pytest"):
            stack.enter_context(running([service], layout.run_dir / f"{program.name}.log"))
            stack.callback(wait_for_users, layout, program.name)
        else:
            stack.enter_context(counted_as_user(layout, program.name))
            _wait(service)
        yield


def _wait(service: Service) -> None:
    deadline = time.monotonic() + 60
    while not service.is_ready():
        assert time.monotonic() < deadline, f"{service.program.name} did not start in another test process"
        time.sleep(0.05)
