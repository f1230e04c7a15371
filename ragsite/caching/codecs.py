"""How values become bytes and back. Nothing is pickled: what is read back is data, whoever wrote it."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")

PACKED_FROM = 2048
"""Bytes from which a page is packed: zlib's fastest level takes 1 ms for 100 KB and leaves a tenth of it."""
PLAIN, PACKED = b"\0", b"\1"


class Unreadable(ValueError):
    """Bytes that are no value of this kind: as good as none."""


@dataclass(frozen=True)
class Codec(Generic[V]):
    """``name`` is for people. ``read`` may raise ValueError."""

    name: str
    write: Callable[[V], bytes]
    read: Callable[[bytes], V]


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _load(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))


def _pack(value: bytes) -> bytes:
    return PACKED + zlib.compress(value, 1) if len(value) >= PACKED_FROM else PLAIN + value


def _unpack(data: bytes) -> bytes:
    if data[:1] == PLAIN:
        return data[1:]
    try:
        return zlib.decompress(data[1:])
    except zlib.error as error:
        raise Unreadable(str(error)) from error


def _floats(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32)


JSON: Codec[Any] = Codec("JSON", lambda value: _pack(_dump(value)), lambda data: _load(_unpack(data)))
BYTES: Codec[bytes] = Codec("bytes", bytes, bytes)
PAGE: Codec[bytes] = Codec("a rendered body, packed", _pack, _unpack)
FLOATS: Codec[NDArray[np.float32]] = Codec("32-bit floats", lambda value: value.astype("<f4").tobytes(), _floats)
