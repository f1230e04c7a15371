"""The lines of all processes on one screen, each with the name of whose it is."""

import json
import os
import sys
import time
from queue import Full, Queue
from threading import Thread

NAME = "ragsite"
"""The supervisor's own lines."""
WIDTH = 8
LONGEST_QUEUE = 5000
"""Lines that wait for their reader; what comes beyond is left out and counted."""
CLOSE_SECONDS = 2.0
"""How long a reader who does not read can delay the end."""
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Output:
    """Writes labelled lines to standard output; coloured on a terminal.

    A thread writes: a reader who pauses (Ctrl-S, a pager, a full pipe) must not stop the site. Non-blocking writes were
    no way, because the flag belongs to the terminal and so to everybody who uses it.
    """

    def __init__(self) -> None:
        self._as_json = os.environ.get("RAGSITE_LOG_FORMAT") == "json"
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._labels: dict[str, str] = {}
        self._lines: Queue[str | None] = Queue(LONGEST_QUEUE)
        self._left_out = 0
        self._descriptor = sys.stdout.fileno()
        self._writer = Thread(target=self._write_all, name="output", daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        line = json_line(name, text) if self._as_json else f"{self._label(name)} {text}\n"
        if not (self._say_what_is_missing() and self._offer(line)):
            self._left_out += 1

    def close(self) -> None:
        """Wait until all is written, or until it is clear that nobody reads."""
        self._say_what_is_missing()
        try:
            self._lines.put(None, timeout=CLOSE_SECONDS)
        except Full:
            return
        self._writer.join(CLOSE_SECONDS)

    def _label(self, name: str) -> str:
        if name not in self._labels:
            label = f"{name:<{WIDTH}} |"
            colour = _COLOURS[len(self._labels) % len(_COLOURS)]
            self._labels[name] = f"\x1b[{colour}m{label}\x1b[0m" if self._coloured else label
        return self._labels[name]

    def _say_what_is_missing(self) -> bool:
        """False while there is no room to say it."""
        text = f"{self._left_out} lines are left out here: they came faster than they were read"
        line = json_line(NAME, text) if self._as_json else f"{self._label(NAME)} {text}\n"
        if self._left_out and not self._offer(line):
            return False
        self._left_out = 0
        return True

    def _offer(self, line: str) -> bool:
        try:
            self._lines.put_nowait(line)
        except Full:
            return False
        return True

    def _write_all(self) -> None:
        """Losing the reader of the lines (a closed terminal, `| head`) is no reason to stop the site."""
        has_reader, lines = True, self._waiting()
        while lines[-1] is not None:
            has_reader = has_reader and self._write(lines)
            lines = self._waiting()
        self._write(lines)

    def _waiting(self) -> list[str | None]:
        """All that waits, at least one: line by line this thread would lose a race for the interpreter's lock."""
        first = self._lines.get()
        return [first, *(self._lines.get_nowait() for _ in range(self._lines.qsize()))]

    def _write(self, lines: list[str | None]) -> bool:
        rest = "".join(filter(None, lines)).encode(errors="replace")
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            return False
        return True


def json_line(part: str, text: str) -> str:
    """A line as a JSON object; one that is an object already gets the name of its part alone."""
    try:
        content = json.loads(text) if text.startswith("{") else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "message": text}
    return json.dumps({"part": part, **content}, ensure_ascii=False) + "\n"
