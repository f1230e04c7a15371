"""A process of the rig that can be killed as a machine dies, and started again as an orchestrator would."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ragsite.embedded.kernel import die_with_parent
from ragsite.layout import PROJECT_DIR
from tests.instance import descendants, parents, until

STOP_SECONDS = 90


class Process:
    """Ends with the process that has started it; ``log`` holds what it and its earlier lives have said."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.command, self.log, self.is_ready = name, command, log, is_ready
        self.environment = dict(os.environ if environment is None else environment)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Process":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=PROJECT_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
            )
        return self

    def wait_until_ready(self, seconds: float = 120) -> "Process":
        assert until(lambda: self.is_ready() or self.has_ended(), seconds), f"{self.name}:\n{self.lines()}"
        assert not self.has_ended(), f"{self.name}:\n{self.lines()}"
        return self

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def lines(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """All its processes at once, without a word: as a machine that loses its power."""
        assert self.process
        family = {self.process.pid, *descendants(self.process.pid)}
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert until(lambda: not family & parents().keys())

    def tell(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait_until_ended(self) -> None:
        assert self.process
        self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        """Without the patience that it would have with its visitors; its supervisor still removes what it has made."""
        if self.process is None or self.has_ended():
            return
        self.tell(signal.SIGTERM)
        for pid in descendants(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self.wait_until_ended()
        except subprocess.TimeoutExpired:
            self.kill()
