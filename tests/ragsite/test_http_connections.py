"""Kept connections to a server that answers as a test wants."""

import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragsite.http_connections import (
    Broken,
    Connections,
    InvalidRequest,
    Patience,
    TooSlow,
    Unreachable,
    origin_and_target,
    receive,
)

PATIENCE = Patience(connect=5, read=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


class Server:
    """Answers the nth request of each connection with the nth answer, and closes it after the last."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            for answer in self.answers:
                if not (request := connection.recv(65536)):
                    break
                self.requests.append(request)
                connection.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def serving(*answers: bytes) -> Iterator[Server]:
    server = Server(*answers)
    try:
        yield server
    finally:
        server.close()


def ask(connections: Connections, target: str = "/", patience: Patience = PATIENCE) -> tuple[int, bytes]:
    with connections.exchange("POST", target, {"X-A": "b"}, b"body", patience) as response:
        return response.status, response.read()


def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    with serving(OK) as server:
        assert ask(Connections(server.origin), "/v1/a b?c=d") == (200, b"ok")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /v1/a%20b?c=d HTTP/1.1"
    assert {b"Content-Length: 4", b"X-A: b", f"Host: {server.origin[7:]}".encode()} <= set(head.split(b"\r\n"))
    assert body == b"body"


def test_one_connection_serves_many_requests() -> None:
    with serving(OK, CHUNKED, OK) as server:
        connections = Connections(server.origin)
        assert [ask(connections)[1] for _ in range(3)] == [b"ok", b"onetwo", b"ok"]
        assert server.connections == 1


def test_a_request_is_sent_again_where_the_kept_connection_was_closed() -> None:
    with serving(OK) as server:
        connections = Connections(server.origin)
        assert [ask(connections)[1] for _ in range(2)] == [b"ok", b"ok"]
        assert server.connections == 2


def test_a_request_is_sent_again_where_the_kept_connection_is_reset() -> None:
    """Closed with unread data: the server's kernel answers with a reset instead of an end."""

    def reset_once(connection: socket.socket, seconds: float) -> bytes:
        if not resets:
            resets.append(connection)
            raise ConnectionResetError(104, "Connection reset by peer")
        return receive(connection, seconds)

    resets: list[socket.socket] = []
    with serving(OK, OK) as server:
        connections = Connections(server.origin)
        ask(connections)
        with connections.exchange("POST", "/", {}, b"", PATIENCE, reset_once) as response:
            assert response.read() == b"ok"
    assert len(resets) == 1


def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() -> None:
    with serving(CHUNKED[:-5], OK) as server:
        connections = Connections(server.origin)
        for _ in range(2):
            with connections.exchange("POST", "/", {}, b"", PATIENCE) as response:
                assert response.read(1)
        assert server.connections == 2


def test_pieces_come_as_they_are_sent_and_an_early_end_is_told() -> None:
    with serving(CHUNKED[:-5]) as server:
        pieces: list[bytes] = []
        with pytest.raises(Broken), Connections(server.origin).exchange("POST", "/", {}, b"", PATIENCE) as response:
            pieces.extend(response)
    assert (response.status, b"".join(pieces)) == (200, b"onetwo")


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with serving(b"HTTP/1.1 200 OK\r\n\r\nall of it") as server:
        assert ask(Connections(server.origin)) == (200, b"all of it")


def test_an_announcement_before_the_answer_is_passed_over() -> None:
    with serving(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK) as server:
        assert ask(Connections(server.origin)) == (200, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-server\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99_999,
    ],
)
def test_what_is_not_a_whole_answer_is_told(answer: bytes) -> None:
    with serving(answer) as server, pytest.raises(Broken):
        ask(Connections(server.origin))


def test_a_server_that_says_nothing_is_too_slow() -> None:
    with serving(b"HTTP/1.1 ") as server, pytest.raises(TooSlow):
        server.answers = (b"H", OK)
        ask(Connections(server.origin), patience=Patience(connect=5, read=0.05))


def test_no_server_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable):
        ask(Connections(origin))
    with pytest.raises(Unreachable):
        ask(Connections("http://encoder", unix=Path("/nowhere/at/all")))


@pytest.mark.parametrize("origin", ["ftp://there", "there:80", "http://", "http://there:99999", "http://[::1"])
def test_what_is_no_server_is_refused(origin: str) -> None:
    with pytest.raises(InvalidRequest):
        Connections(origin)


def test_a_header_cannot_begin_another() -> None:
    with serving(OK) as server, pytest.raises(InvalidRequest):
        Connections(server.origin).exchange("POST", "/", {"A": "b\r\nC: d"}, b"", PATIENCE).__enter__()


def test_who_finds_all_connections_in_use_waits_no_longer_than_for_a_connection() -> None:
    with serving(OK) as server:
        connections = Connections(server.origin, most=1)
        with connections.exchange("POST", "/", {}, b"", PATIENCE), pytest.raises(TooSlow):
            ask(connections, patience=Patience(connect=0.01, read=5))
        assert ask(connections) == (200, b"ok")


def test_a_forked_child_does_not_use_its_parents_connections() -> None:
    with serving(OK, OK) as server:
        connections = Connections(server.origin)
        ask(connections)
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(ask(connections) != (200, b"ok")))
        child.start()
        child.join(20)
        assert (child.exitcode, server.connections) == (0, 2)


def test_an_address_is_parted_into_server_and_target() -> None:
    assert origin_and_target("https://there:1/v1/x?y=z") == ("https://there:1", "/v1/x?y=z")
    assert origin_and_target("http://there") == ("http://there", "/")
