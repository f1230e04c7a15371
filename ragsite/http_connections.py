"""HTTP/1.1 to one server over kept connections, parsed in C.

For the two servers that every answer asks, the encoder and the language model: httpx and httpcore took a tenth of the
web processes' time (docs/decisions/0028-cheaper-answers.md). This knows neither proxies nor redirects, cookies or
compression; who needs them takes httpx.
"""

import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

import httptools
import httpx

LARGEST_READ = 1 << 16
LARGEST_HEAD = 1 << 16
_VISIBLE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_PORTS = {"http": 80, "https": 443}

Receive = Callable[[socket.socket, float], bytes]
"""Waits at most so many seconds for data; raises TimeoutError. Empty at the end of the connection."""


class HttpError(Exception):
    """The exchange failed."""


class InvalidRequest(HttpError):
    """It cannot be sent: no address of a server, or a header that HTTP does not allow."""


class Unreachable(HttpError):
    """No connection."""


class TooSlow(HttpError):
    """The time for connecting, sending or for the next byte is over."""


class Broken(HttpError):
    """The connection ended too early, or what came is not HTTP."""


@dataclass(frozen=True)
class Patience:
    """Seconds for the connection, and for each read and write."""

    connect: float
    read: float


def receive(connection: socket.socket, timeout: float) -> bytes:
    """What comes next."""
    connection.settimeout(timeout)
    return connection.recv(LARGEST_READ)


class Response:
    """What a server answers. ``headers`` have lower-case names; iterating gives the body's pieces as they come."""

    def __init__(self, connection: socket.socket, take: Receive, seconds: float) -> None:
        self.headers: dict[str, str] = {}
        self.status = 0
        self._connection, self._take, self._seconds = connection, take, seconds
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._received = 0
        self._has_head = self._is_complete = False
        self.may_be_kept = False
        """Whether the connection is free for another request."""
        while not self._has_head:
            self._feed()
            if not self._has_head and self._received > LARGEST_HEAD:
                raise Broken("the head of its answer does not end")

    def __iter__(self) -> Iterator[bytes]:
        while True:
            if piece := b"".join(self._body):
                self._body.clear()
                yield piece
            if self._is_complete:
                return
            self._feed()

    def read(self, most: int | None = None) -> bytes:
        """The rest of the body; at least ``most`` bytes of it are enough."""
        pieces, length = [], 0
        for piece in self:
            pieces.append(piece)
            length += len(piece)
            if most is not None and length >= most:
                break
        return b"".join(pieces)

    def _feed(self) -> None:
        try:
            data = self._take(self._connection, self._seconds)
        except TimeoutError as error:
            raise TooSlow("nothing came in time") from error
        except OSError as error:
            raise self._cut(str(error)) from error
        if not data:
            self._end()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise Broken(f"what it sent is not HTTP: {error}") from error

    def _end(self) -> None:
        """The connection ended: where nothing told the body's length, so did the body."""
        if not self._has_head or {"content-length", "transfer-encoding"} & self.headers.keys():
            raise self._cut("it closed the connection")
        self._is_complete = True

    def _cut(self, how: str) -> Broken:
        return Broken(how) if self._received else NothingCame(how)

    # --- What the parser calls ----------------------------------------------------------------------------------------
    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200  # those before only announce the answer
        if not self._has_head:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_complete = self._has_head
        self.may_be_kept = self._has_head and self._parser.should_keep_alive()


class NothingCame(Broken):
    """The connection ended before the answer's first byte: a kept one had been closed meanwhile."""


@dataclass(frozen=True)
class _Kept:
    connection: socket.socket
    since: float


class Connections:
    """Those to one server. Shared by threads; a forked child begins with none."""

    def __init__(self, origin: str, unix: Path | None = None, most: int = 64, idle_seconds: float = 60.0) -> None:
        """``origin`` is ``http(s)://host[:port]``; with ``unix``, a socket's path, its host does not matter.

        Raises InvalidRequest.
        """
        self._address = _parsed(origin)
        self._unix = unix
        self._idle_seconds = idle_seconds
        self._idle: list[_Kept] = []
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        patience: Patience,
        take: Receive = receive,
    ) -> Iterator[Response]:
        """Send a request; the response as soon as its head is there. What was not read of it is dropped at the end.

        A request is sent again where a kept connection turns out to have been closed. Raises HttpError, also while the
        response is read.
        """
        request = self._request(method, target, headers, body)
        if not self._free.acquire(timeout=patience.connect):
            raise TooSlow("all connections to it are in use")
        try:
            connection, response = self._answered(request, patience, take)
            try:
                yield response
            finally:
                self._put_away(connection, response)
        finally:
            self._free.release()

    def _answered(self, request: bytes, patience: Patience, take: Receive) -> tuple[socket.socket, Response]:
        while kept := self._kept():
            try:
                return kept, _ask(kept, request, patience, take)
            except NothingCame:
                continue
        connection = self._connect(patience.connect)
        return connection, _ask(connection, request, patience, take)

    def _put_away(self, connection: socket.socket, response: Response) -> None:
        if not response.may_be_kept:
            connection.close()
            return
        now = time.monotonic()
        with self._lock:
            self._idle.append(_Kept(connection, now))
            while self._idle[0].since < now - self._idle_seconds:
                self._idle.pop(0).connection.close()

    def _kept(self) -> socket.socket | None:
        """The one used last, if it is still open."""
        with self._lock:
            if self._process != os.getpid():
                self._idle, self._process = [], os.getpid()
            while self._idle:
                kept = self._idle.pop()
                if kept.since >= time.monotonic() - self._idle_seconds and not is_readable(kept.connection):
                    return kept.connection
                kept.connection.close()
        return None

    def _connect(self, seconds: float) -> socket.socket:
        try:
            if self._unix:
                return _connected(self._unix, seconds)
            return self._connect_tcp(seconds)
        except TimeoutError as error:
            raise Unreachable("it does not take the connection in time") from error
        except (OSError, UnicodeError) as error:
            raise Unreachable(str(error)) from error

    def _connect_tcp(self, seconds: float) -> socket.socket:
        scheme, host = self._address.scheme, self._address.hostname or ""
        connection = socket.create_connection((host, self._address.port or _PORTS[scheme]), seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _trusted().wrap_socket(connection, server_hostname=host) if scheme == "https" else connection
        except BaseException:
            connection.close()
            raise

    def _request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        host = self._address.netloc.rpartition("@")[2]
        given = {"Host": host, **headers, "Content-Length": str(len(body))}
        lines = [f"{method} {quote(target, safe=_UNTOUCHED)} HTTP/1.1", *(f"{n}: {v}" for n, v in given.items())]
        if not all(_VISIBLE.fullmatch(line) for line in lines):
            raise InvalidRequest("a header or the address holds characters that HTTP does not allow")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


def _connected(path: Path, seconds: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(seconds)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


_UNTOUCHED = "/?&=%:@!$'()*+,;~-._"


def _ask(connection: socket.socket, request: bytes, patience: Patience, take: Receive) -> Response:
    try:
        connection.settimeout(patience.read)
        try:
            connection.sendall(request)
        except TimeoutError as error:
            raise TooSlow("it does not take the request") from error
        except OSError as error:
            raise NothingCame(str(error)) from error
        return Response(connection, take, patience.read)
    except BaseException:
        connection.close()
        raise


def is_readable(connection: socket.socket, seconds: float = 0.0) -> bool:
    """Whether data, or the end, comes within this time."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    poll = select.poll()  # select() itself cannot take descriptors above 1023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _parsed(origin: str) -> SplitResult:
    try:
        address = urlsplit(origin)
        if address.scheme in _PORTS and address.hostname and address.port != 0:
            return address
    except ValueError:
        pass
    raise InvalidRequest(f"{origin} is not the address of a server: http://host:port")


def origin_and_target(url: str) -> tuple[str, str]:
    """``http://host:port`` and what stands behind it. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(f"{url} is not an address") from error
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@cache
def _trusted() -> ssl.SSLContext:
    """As httpx does it: certifi's authorities, or those of SSL_CERT_FILE."""
    return httpx.create_ssl_context()
