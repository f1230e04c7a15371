"""The lines of all processes on one screen, each with the name of whose it is."""

import os
import sys

WIDTH = 8
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Output:
    """Writes labelled lines to standard output; coloured on a terminal."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._labels: dict[str, str] = {}

    def line(self, name: str, text: str) -> None:
        self._write(f"{self._label(name)} {text}\n")

    def _label(self, name: str) -> str:
        if name not in self._labels:
            label = f"{name:<{WIDTH}} |"
            colour = _COLOURS[len(self._labels) % len(_COLOURS)]
            self._labels[name] = f"\x1b[{colour}m{label}\x1b[0m" if self._coloured else label
        return self._labels[name]

    def _write(self, text: str) -> None:
        """Losing the reader of the lines (a closed terminal, `| head`) is no reason to stop the site."""
        try:
            sys.stdout.buffer.write(text.encode(errors="replace"))
            sys.stdout.buffer.flush()
        except OSError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
