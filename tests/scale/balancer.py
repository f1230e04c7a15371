"""HAProxy before the web nodes, with the very file that deploy/ offers."""

import os
import shutil
from pathlib import Path

from ragsite.layout import PROJECT_DIR
from tests.instance import free_port
from tests.scale.processes import Process
from tests.scale.servers import listens

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CONFIGURATION = PROJECT_DIR / "deploy" / "haproxy.cfg"


class Balancer(Process):
    def __init__(self, folder: Path, first: str, second: str) -> None:
        """``first`` and ``second`` are the nodes' addresses, host:port."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "RAGSITE_LISTEN": f"127.0.0.1:{port}",
            "RAGSITE_NODE_A": first,
            "RAGSITE_NODE_B": second,
        }
        command = (str(HAPROXY), "-db", "-f", str(CONFIGURATION))
        super().__init__("HAProxy", command, folder / "haproxy.log", lambda: listens(self.url), environment)
