"""The way to the sandbox service, in which files are read and pages drawn. Knows nothing of Django or of any parser."""

import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from ragsite import sandbox_wire as wire
from ragsite.extraction import Box, Extraction, ExtractionRefused, Limits, SeekableFile

__all__ = ["ExtractionRefused", "Picture", "Progress", "SandboxClient", "SandboxUnavailable"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

Source = SeekableFile | Path | str
"""An open binary file or a path."""

_PAYLOAD_LIMIT: Final = 512 * 1024 * 1024
_SPARE_SECONDS: Final = 30.0
_CONNECT_PAUSE_SECONDS: Final = 0.05
_QUICK_LIMITS: Final = Limits(cpu_seconds=20, wall_seconds=30)


class SandboxUnavailable(Exception):
    """The service is not there or went away in the middle: worth another try, the file is not to blame."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: a fraction of 1 and, where the format has them, the pages done."""

    progress: float
    pages: int | None


@dataclass(frozen=True)
class Picture:
    """A page as a picture (its size in pixels)."""

    data: bytes
    content_type: str
    width: int
    height: int


@dataclass(frozen=True)
class SandboxClient:
    """Talks to the service on ``socket_path``; safe to share between threads, holds no connection.

    Every method raises ExtractionRefused when the file is at fault and SandboxUnavailable when the service is.
    """

    socket_path: Path
    connect_seconds: float = 10.0
    """How long to wait for a service that is just being restarted."""

    def extract(
        self,
        file: Source,
        content_type: str,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Extraction:
        """Read a file's text."""
        _, payload = self._ask("extract", file, content_type, limits, {}, on_progress)
        return _parsed(payload, Extraction.from_json)

    def render_page(
        self, file: Source, page: int, *, width: int = 1200, image_format: str = "webp", limits: Limits = _QUICK_LIMITS
    ) -> Picture:
        """Draw a PDF's page (counted from 1), ``width`` pixels wide, as ``webp`` or ``png``."""
        arguments = {"page": page, "width": width, "format": image_format}
        content, payload = self._ask("render_page", file, "application/pdf", limits, arguments)
        return Picture(payload, f"image/{image_format}", content["width"], content["height"])

    def locate(self, file: Source, page: int, start: int, end: int, *, limits: Limits = _QUICK_LIMITS) -> list[Box]:
        """Where a span of a PDF page's text stands: a box a line. Offsets are counted from the page's start."""
        arguments = {"page": page, "start": start, "end": end}
        content, _ = self._ask("locate", file, "application/pdf", limits, arguments)
        return [Box(*box) for box in content["boxes"]]

    def capabilities(self) -> dict[str, Any]:
        """What the machine offers and the sandbox uses, as a job sees it: ``{"measures": {name: bool}}``."""
        content, _ = self._ask("capabilities", None, "", _QUICK_LIMITS, {})
        return content

    def _ask(
        self,
        operation: str,
        file: Source | None,
        content_type: str,
        limits: Limits,
        arguments: dict[str, Any],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        request = {"operation": operation, "content_type": content_type, "arguments": arguments}
        message = json.dumps({**request, "limits": asdict(limits)}).encode()
        with _descriptors(file) as descriptors, self._connect() as connection:
            connection.settimeout(limits.wall_seconds + _SPARE_SECONDS)
            try:
                socket.send_fds(connection, [message], descriptors)
                return _read_answer(connection, on_progress)
            except OSError as error:
                raise SandboxUnavailable(f"the sandbox service broke off: {error}") from error

    def _connect(self) -> socket.socket:
        """Connect, waiting for a service that is being restarted."""
        give_up = time.monotonic() + self.connect_seconds
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                connection.connect(str(self.socket_path))
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() >= give_up:
                    raise SandboxUnavailable(f"no sandbox service on {self.socket_path}: {error}") from error
            time.sleep(_CONNECT_PAUSE_SECONDS)


def _read_answer(
    connection: socket.socket, on_progress: Callable[[Progress], None] | None
) -> tuple[dict[str, Any], bytes]:
    payload = bytearray()
    while message := connection.recv(wire.MESSAGE_LIMIT):
        tag, body = message[:1], message[1:]
        if tag == wire.DATA:
            payload += body
            if len(payload) > _PAYLOAD_LIMIT:
                raise ExtractionRefused("too_large", "The file holds more text than this site can take.")
        elif tag == wire.PROGRESS:
            progress = _parsed(body, _progress)
            if on_progress is not None:
                on_progress(progress)
        elif tag == wire.RESULT:
            return _parsed(body, dict), bytes(payload)
        else:
            raise _parsed(body, _refusal)
    raise SandboxUnavailable("the sandbox service went away in the middle of a job")


def _parsed(body: bytes | bytearray, make: Callable[[Any], T]) -> T:
    """A reader that a hostile file has taken over may say anything: what is no proper answer is a broken file."""
    try:
        return make(json.loads(body))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExtractionRefused("broken", "The file made its reader answer nonsense; it may be damaged.") from error


def _progress(content: dict[str, Any]) -> Progress:
    return Progress(content["progress"], content["pages"])


def _refusal(content: dict[str, Any]) -> ExtractionRefused:
    if content["trace"]:
        logger.warning("a reader failed unexpectedly:\n%s", content["trace"])
    return ExtractionRefused(content["code"], content["detail"])


@contextmanager
def _descriptors(file: Source | None) -> Iterator[list[int]]:
    """The file as open descriptors to send along: none, or one that stands at the file's whole content."""
    if file is None:
        yield []
    elif isinstance(file, str | Path):
        with open(file, "rb") as opened:
            yield [opened.fileno()]
    elif (descriptor := _descriptor_of(file)) is not None:
        yield [descriptor]
    else:
        with _copied(file) as copy:
            yield [copy.fileno()]


def _descriptor_of(file: SeekableFile) -> int | None:
    """The descriptor of a file of this machine; None for one in memory or in a storage elsewhere."""
    try:
        return file.fileno()  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return None


@contextmanager
def _copied(file: SeekableFile) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        file.seek(0)
        while part := file.read(1024 * 1024):
            copy.write(part)
        copy.flush()
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        yield copy
