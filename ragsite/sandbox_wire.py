"""How the sandbox service and its clients talk: a Unix socket that keeps message boundaries (SOCK_SEQPACKET).

The request is one JSON message which carries the input file as an open descriptor. The answer is any number of progress
and data messages and then one result or error. As messages arrive whole or not at all, a reader that is
killed in the middle of its answer leaves a clean place for the service to say why.
"""

import json
import socket
from typing import Any, Final

PROGRESS: Final = b"P"
DATA: Final = b"D"
RESULT: Final = b"R"
ERROR: Final = b"E"

MESSAGE_LIMIT: Final = 64 * 1024
"""The kernel takes a message whole or not at all: it must fit the socket's buffer (208 KB by default)."""


def send_json(connection: socket.socket, tag: bytes, content: Any, flags: int = 0) -> None:
    """Send one small message. Raises OSError when the other side is gone."""
    connection.send(tag + json.dumps(content).encode(), flags)


def send_data(connection: socket.socket, payload: bytes) -> None:
    """Send a payload of any size as DATA messages."""
    view = memoryview(payload)
    for start in range(0, len(view), MESSAGE_LIMIT - 1):
        connection.sendmsg([DATA, view[start : start + MESSAGE_LIMIT - 1]])
