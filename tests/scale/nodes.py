"""The machines of a site on several: each with a data folder of its own, and shared are only the files."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.instance import environment_for, free_port
from tests.scale.processes import Process

SHARED = ("files", "uploads")
"""Folders that all nodes have in common, as a volume that is mounted there."""
MANAGE = (sys.executable, "manage.py")


class Node(Process):
    """Runs some of the site's processes by `manage.py up`."""

    def __init__(self, name: str, folder: Path, shared: Path, settings: Mapping[str, str], *roles: str) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True)
        for part in SHARED:
            (folder / part).symlink_to(shared / part)
        (folder / "models").symlink_to(shared / "models")
        environment = environment_for(folder, self.port) | {"RAGSITE_WORKERS": "2", **settings}
        log = folder.with_suffix(".log")
        super().__init__(name, (*MANAGE, "up", *roles), log, self._is_ready, environment)
        self.roles = roles

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _is_ready(self) -> bool:
        if "web" in self.roles:
            return status(f"http://{self.address}/readyz") == 200
        return not self.has_ended()


def status(url: str) -> int:
    """0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def without_servers() -> dict[str, str]:
    """The caller's environment without what would lead to other servers."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
