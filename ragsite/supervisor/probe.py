"""Asks the site whether it is there."""

import socket

from ragsite.supervisor.loop import Supervisor

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def local_address(host: str) -> str:
    """Where a server that listens on ``host`` can be reached from this machine."""
    return _LOCAL.get(host, host)


class Probe:
    """One `GET /healthz` that waits in the listening socket's queue until a web process takes it up."""

    def __init__(self, supervisor: Supervisor, host: str, port: int) -> None:
        self.answered = False
        self._supervisor = supervisor
        self._address = (local_address(host), port)
        self._send()

    def _send(self) -> None:
        self._connection = socket.create_connection(self._address, timeout=5)
        self._connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self._connection.setblocking(False)
        self._supervisor.watch(self._connection.fileno(), self._on_answer)

    def _on_answer(self) -> None:
        try:
            answer = self._connection.recv(64)
        except OSError:
            answer = b""
        self._supervisor.unwatch(self._connection.fileno())
        self._connection.close()
        self.answered = answer.startswith(b"HTTP/1.1") and not answer.startswith(b"HTTP/1.1 5")
        if not self.answered:
            self._send()

    def close(self) -> None:
        if not self.answered:
            self._supervisor.unwatch(self._connection.fileno())
            self._connection.close()
