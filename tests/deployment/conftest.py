from typing import Any

import pytest

from tests.deployment.files import ROOT, Container, all_containers, read


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    return read(ROOT / "compose.yaml")


@pytest.fixture(scope="session")
def containers(compose) -> list[Container]:
    return all_containers(compose)
