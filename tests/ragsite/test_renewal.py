"""New web processes in place of the old ones, while people use the site."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ragsite.layout import PROJECT_DIR, Layout
from tests.instance import Instance, until
from tests.load.mock_model import Times, running_mock

SCRIPT = """
import os, sys, time
from ragsite.embedded.program import Program
from ragsite.supervisor.loop import Supervisor
from ragsite.supervisor.output import Output
from ragsite.supervisor.renewal import renew

reader, writer = os.pipe()
os.set_blocking(reader, False)
old = Program("web", ("sleep", "600"), needs=())
new = Program("web", (sys.argv[2], "-c", sys.argv[1] % writer), needs=(), inherit=(writer,))
supervisor = Supervisor(Output())
first = supervisor.start(old)
told = [supervisor.start(Program(name, ("sleep", "600"), needs=())) for name in ("worker", "upkeep")]
renew(supervisor, new, reader)
while supervisor.children["web"] is not first and any(child.is_running for child in (first, *told)):
    supervisor.pump(0.1)
runs, is_web = first.is_running, supervisor.children["web"] is first
supervisor.stop([])
supervisor.output.close()  # it writes from a thread
print("first runs", runs, "and is web", is_web)
"""


def renewed(new: str, shell: str = "sh") -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, new, shell], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_that_are_ready_take_the_place_of_the_old_ones() -> None:
    lines = renewed("printf '{}\\n\\n' >&%d; exec sleep 600")
    assert "the new web processes are ready" in lines
    assert "first runs False and is web False" in lines
    assert "worker died (signal 15), restarting" in lines


@pytest.mark.parametrize(
    "new",
    ["exit 1 # %d", "printf '{}\\n' >&%d; exit 1", "printf '\\n\\n' >&%d; sleep 0.3; exit 1"],
    ids=["not prepared", "not ready", "old ones came again and told so"],
)
def test_processes_that_do_not_start_leave_the_old_ones_in_place(new: str) -> None:
    lines = renewed(new)
    assert "The new web processes did not start" in lines
    assert "first runs True and is web True" in lines
    assert "worker died" not in lines


def test_a_program_that_cannot_be_started_at_all_leaves_the_old_ones_in_place() -> None:
    lines = renewed("# %d", shell="/nowhere/python")
    assert "The new web processes did not start ([Errno 2]" in lines
    assert "first runs True and is web True" in lines


@pytest.fixture
def site(built_model: None, layout: Layout, tmp_path: Path) -> Iterator[Instance]:
    (tmp_path / "models").symlink_to(layout.models_dir.resolve())
    with running_mock(Times(first=100, delay=50, tokens=200, beat=10)) as model:
        settings = {"LLM_BASE_URL": f"http://127.0.0.1:{model.port}/v1", "LLM_MODEL": "mock"}
        instance = Instance(tmp_path, RAGSITE_GRACE_SECONDS="60", RAGSITE_THROTTLE="off", **settings)
        try:
            yield instance.wait_until_ready()
        finally:
            instance.end()


class Crowd:
    """Asks for pages until it is told to stop, on new connections and on kept ones."""

    def __init__(self, url: str) -> None:
        self.url, self.over = url, threading.Event()
        self.answered, self.failed = 0, list[str]()
        self.threads = [threading.Thread(target=self._ask, args=[kept]) for kept in (True, False)]

    def __enter__(self) -> "Crowd":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, kept: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if kept else 0)
        with httpx.Client(base_url=self.url, limits=limits, timeout=60, trust_env=False) as client:
            while not self.over.wait(0.02):
                try:
                    status = client.get("/accounts/login/").status_code
                    self.failed += [] if status == 200 else [str(status)]
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                self.answered += 1


@pytest.mark.slow
def test_a_site_on_one_machine_gets_new_web_processes_without_a_failed_request(site: Instance) -> None:
    url = f"http://127.0.0.1:{site.port}"
    token = site.manage("create_token", "admin", "--name", "test").stdout.strip()
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    before = site.pid_of("web")
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client, Crowd(url) as crowd:
        document = client.post("/api/v1/documents", files={"file": ("rhine.txt", b"The Rhine flows through Basel.")})
        path = f"/api/v1/documents/{document.json()['id']}"
        assert until(lambda: client.get(path).json()["searchable"])
        conversation = client.post("/api/v1/conversations", json={}).json()["id"]
        question = {"content": "What flows through Basel?"}
        with client.stream("POST", f"/api/v1/conversations/{conversation}/messages", json=question) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line == "event: token")
            os.kill(site.process.pid, signal.SIGUSR2)
            last = [line for line in lines if line.startswith("data: ")][-1]
        assert json.loads(last[6:])["message"]["status"] == "complete"
        assert until(lambda: "the new web processes are ready" in site.lines)
        answered = crowd.answered
        assert until(lambda: crowd.answered > answered + 20)
    assert crowd.failed == [], site.lines
    assert until(lambda: site.pid_of("web") not in {0, before}), "the old ones have not ended"
