"""A whole site of its own for the tests of a module, and a client of it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ragsite.layout import Layout
from tests.instance import Instance, free_port

LLM_PORT = free_port()
"""Where the site expects a language model; most of the time none is there."""


@pytest.fixture(scope="module")
def site(built_model: None, layout: Layout) -> Iterator[Instance]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as folder:
        (Path(folder) / "models").symlink_to(layout.models_dir.resolve())
        environment = {
            "RAGSITE_LEASE_SECONDS": "8",
            "RAGSITE_WORKERS": "2",
            "RAGSITE_THROTTLE": "off",
            "LLM_BASE_URL": f"http://127.0.0.1:{LLM_PORT}/v1",
            "LLM_MODEL": "mock",
        }
        instance = Instance(Path(folder), **environment)
        try:
            yield instance.wait_until_ready()
        finally:
            instance.end()


@pytest.fixture(scope="module")
def token(site: Instance) -> str:
    return site.manage("create_token", "admin", "--name", "test").stdout.strip()


@pytest.fixture
def client(site: Instance, token: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=60) as made:
        yield made
