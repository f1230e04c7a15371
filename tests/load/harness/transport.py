"""HTTP for the generator: one connection a visitor, gevent's, with as little work a request as can be."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPSocketPoolResponse

BLOCK = 64 * 1024
PATIENCE = 120.0


class GeventReply:
    def __init__(self, response: HTTPSocketPoolResponse) -> None:
        self.response = response
        self.status: int = response.status_code

    def header(self, name: str) -> str:
        return str(self.response.get(name, "") or "")

    def body(self) -> bytes:
        return self.response.read()

    def frames(self) -> Iterator[bytes]:
        while frame := self.response.readline(b"\n\n"):
            yield frame

    def abandon(self) -> None:
        self.response.release()  # closes the connection, because the body is not read


class GeventTransport:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.client = HTTPClient(
            parts.hostname or "127.0.0.1",
            parts.port,
            ssl=parts.scheme == "https",
            block_size=BLOCK,
            connection_timeout=PATIENCE,
            network_timeout=PATIENCE,
        )

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> GeventReply:
        return GeventReply(self.client.request(method, path, body, headers))

    def close(self) -> None:
        self.client.close()
