"""A file from the web, fetched as carefully as a stranger's errand should be.

Names are resolved once, by us, and the connection goes to the very address that was checked: a name that answers
otherwise a moment later (DNS rebinding) gains nothing. Each redirect is a new connection, checked the same way. Proxies
of the environment are not used: they would resolve the name themselves. Cookies and credentials are not sent.
"""

import mimetypes
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from typing import IO, Any, Final
from urllib.parse import unquote

import httpcore
import httpx
from django.conf import settings

from documents.importing.addresses import resolve
from documents.services import UploadRefused
from ragsite.api.uploads import upload_limit

MOST_REDIRECTS: Final = 5
SILENCE_SECONDS: Final = 15.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = [(b"User-Agent", b"ragsite"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]


@dataclass(frozen=True)
class Fetched:
    """What was fetched: the name that the server or its address gives it, and its size."""

    filename: str
    size: int


class _Stream(httpcore.NetworkStream):
    """A connection that ends at a time, however steadily its other side drips."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: float | None = None) -> "_Stream":
        secured = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Seconds for one step. Raises UploadRefused when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        detail = f"The server took longer than {settings.IMPORT_SECONDS} seconds. Download the file and upload it here."
        raise UploadRefused("timeout", detail)
    return min(left, timeout or left)


class _Backend(httpcore.NetworkBackend):
    """Connects to allowed addresses and ports alone."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._inner = deadline, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if port not in settings.IMPORT_PORTS:
            allowed = ", ".join(map(str, settings.IMPORT_PORTS))
            raise UploadRefused("forbidden_address", f"Files are fetched from the ports {allowed} only.")
        addresses = resolve(host, port)
        for address in addresses[:-1]:
            try:
                return self._connected(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(addresses[-1], port, timeout)

    def _connected(self, address: str, port: int, timeout: float | None) -> _Stream:
        inner = self._inner.connect_tcp(address, port, _left(self._deadline, timeout))
        return _Stream(inner, self._deadline)


def checked_address(text: str) -> httpx.URL:
    """The address as a URL. Raises UploadRefused for what is none that could be fetched."""
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise UploadRefused("invalid_address", "This is no web address.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise UploadRefused("invalid_address", "A web address begins with https:// or http://.")
    if url.userinfo:
        raise UploadRefused("invalid_address", "An address with a password in it is not fetched.")
    return url


def fetch(address: str, into: IO[bytes]) -> Fetched:
    """Write what lies at the address into a file. Raises UploadRefused with the reason when it cannot be had."""
    deadline = time.monotonic() + settings.IMPORT_SECONDS
    url = checked_address(address)
    pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(),
        network_backend=_Backend(deadline),
        max_connections=1,
        max_keepalive_connections=0,
    )
    try:
        with pool:
            return _followed(pool, url, into)
    except httpcore.TimeoutException as error:
        raise UploadRefused("timeout", f"{url.host} did not answer in time. Try again later.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise UploadRefused("unreachable", f"{url.host} could not be reached, or broke off: {error}") from error


def _followed(pool: httpcore.ConnectionPool, url: httpx.URL, into: IO[bytes]) -> Fetched:
    timeout = {"connect": SILENCE_SECONDS, "read": SILENCE_SECONDS, "write": SILENCE_SECONDS}
    for _ in range(MOST_REDIRECTS + 1):
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with pool.stream("GET", target, headers=list(_HEADERS), extensions={"timeout": timeout}) as response:
            headers = httpx.Headers(response.headers)
            if response.status not in _REDIRECTS:
                return _saved(response, headers, url, into)
            url = _redirected(url, headers.get("Location", ""))
    raise UploadRefused("unreachable", f"The address leads through more than {MOST_REDIRECTS} others.")


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return checked_address(str(url.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise UploadRefused("unreachable", "The address leads to one that makes no sense.") from error


def _saved(response: httpcore.Response, headers: httpx.Headers, url: httpx.URL, into: IO[bytes]) -> Fetched:
    if response.status != 200:
        raise UploadRefused("unreachable", f"{url.host} answered with status {response.status}.")
    if headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UploadRefused("unreachable", f"{url.host} answered in an encoding that was not asked for.")
    announced = headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > upload_limit():
        raise _too_large()
    size = 0
    for block in response.iter_stream():
        size += len(block)
        if size > upload_limit():
            raise _too_large()
        into.write(block)
    return Fetched(_filename(headers, url), size)


def _too_large() -> UploadRefused:
    return UploadRefused("too_large", f"The file is larger than {settings.RAGSITE_MAX_UPLOAD_MB} MB.")


def _filename(headers: httpx.Headers, url: httpx.URL) -> str:
    """As the server calls it, or its address does; a page without a name is called after its site."""
    said = Message()
    said["Content-Disposition"] = headers.get("Content-Disposition", "")
    said["Content-Type"] = headers.get("Content-Type", "application/octet-stream")
    name = said.get_filename() or PurePosixPath(unquote(url.path)).name or url.host
    known = mimetypes.guess_type(name)[0] or PurePosixPath(name).suffix.lower() in {".md", ".markdown"}
    return name if known else name + (mimetypes.guess_extension(said.get_content_type()) or "")
