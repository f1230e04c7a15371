"""One supervised process: its lines, its death, its next start."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

from ragsite.embedded.program import Program, kill_group

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the first restart and before the last ones; doubled from one to the next."""
STABLE_SECONDS = 60.0
"""Who lived this long has its failures forgotten."""
LONGEST_LINE = 16_384


class Child:
    """A program with the process that runs it now, if one does."""

    def __init__(self, program: Program, *, restarts: bool = True) -> None:
        self.program = program
        self.restarts = restarts
        self.failures = 0
        self.restart_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.descriptor = -1
        self._started_at = 0.0
        self._rest = b""

    @property
    def is_running(self) -> bool:
        return self.process is not None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def start(self) -> None:
        self.restart_at = self.exit_code = None
        reader, writer = os.pipe()
        try:
            self.process = self.program.start(writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self.descriptor = reader
        self._started_at = time.monotonic()

    def read_lines(self) -> Iterator[str]:
        """The whole lines that have arrived, not all of a flood at once; a line without end is cut."""
        *lines, self._rest = (self._rest + self._read()).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in lines)
        if len(self._rest) > LONGEST_LINE:
            yield self._flush()

    def is_of_use(self, line: str) -> bool:
        return bool(line) and not any(noise in line for noise in self.program.noise)

    def _read(self) -> bytes:
        """Once, as much as a pipe holds: a child that never stops writing leaves time for signals and others."""
        try:
            return os.read(self.descriptor, 65_536)
        except BlockingIOError:
            return b""

    def _flush(self) -> str:
        rest, self._rest = self._rest, b""
        return rest.decode(errors="replace")

    def bury(self) -> str:
        """Note that the process has ended, end what is left of its group; how it ended, in words."""
        process, self.process, self._rest = self.process, None, b""
        assert process is not None  # noqa: S101
        self.exit_code = process.wait()
        kill_group(process.pid)
        os.close(self.descriptor)
        return f"died (signal {-self.exit_code})" if self.exit_code < 0 else f"ended (code {self.exit_code})"

    def plan_restart(self) -> float:
        """Set the time of the next start; the pause until then in seconds."""
        now = time.monotonic()
        self.failures = 1 if now - self._started_at >= STABLE_SECONDS else self.failures + 1
        pause = min(FIRST_PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self.restart_at = now + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
